"""The small reference in the repository: always there, whatever machine this is."""

from statistics import median

import pytest
import torch
from golden_small import FILE, flow_margin, run, small_inputs, small_network


@pytest.fixture(scope="module")
def wanted():
    return torch.load(FILE, weights_only=True)


@pytest.fixture(scope="module")
def ours():
    return run(small_network())


def test_inputs_are_clear_of_sampling_jumps():
    assert flow_margin(small_network()) > 1e-5


def test_output_and_loss(ours, wanted):
    assert (ours["output"] - wanted["output"]).abs().max() < 3e-5
    assert abs(ours["loss"] - wanted["loss"]) < 1e-6


def test_gradients(ours, wanted):
    assert set(ours["grad_norm"]) == set(wanted["grad_norm"])
    deviations = [
        abs(ours["grad_norm"][name] - norm) / norm
        for name, norm in wanted["grad_norm"].items()
        if norm > 1e-7
    ]
    assert median(deviations) < 1e-3
    assert max(deviations) < 3e-2
    for name, grad in wanted["grads"].items():
        assert (ours["grads"][name] - grad).norm() < 2e-2 * grad.norm(), name


def test_explicit_and_fused_attention_agree(wanted):
    blur, spikes, _ = small_inputs()
    with torch.no_grad():
        fused = small_network("fused").eval()(blur, spikes)
    assert (fused - wanted["output"]).abs().max() < 3e-5


def test_the_network_depends_on_its_spikes(wanted):
    blur, spikes, _ = small_inputs()
    with torch.no_grad():
        other = small_network().eval()(blur, spikes + 1.0)
    assert (other - wanted["output"]).abs().max() > 1e-3
