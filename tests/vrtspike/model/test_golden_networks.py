"""The whole VRT against the official network's numbers."""

from statistics import median

import pytest
import torch
from golden_file import charbonnier, load, unpack_state

from vrtspike.model.vrt import VRT

FILES = [
    "g1_w244_T4_64x64",
    "g2_w688_T6_64x64",
    "g3_w688_T5_72x88_pad",
    "g5_w688_T7_B2_11entries",
]


def network(golden, attention):
    vrt = VRT(attention=attention, **golden["cfg"])
    vrt.load_state_dict(unpack_state(golden), strict=True)
    return vrt


def check_output(name, attention):
    golden = load(name)
    with torch.no_grad():
        out = network(golden, attention).eval()(golden["x_u8"].float() / 255)
    assert (out - golden["y"]).abs().max() < 3e-5


@pytest.mark.parametrize("name", FILES)
def test_output_matches(name):
    check_output(name, "fused")


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_output_matches_explicit_attention(name):
    check_output(name, "explicit")


def test_intermediate_features_match():
    golden = load(FILES[0])
    vrt = network(golden, "auto").eval()
    seen = {}
    for name in golden["inter"]:
        vrt.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, out, name=name: seen.__setitem__(name, out)
        )
    with torch.no_grad():
        flows = vrt.spynet(golden["x_u8"].float() / 255)
        vrt(golden["x_u8"].float() / 255)
    for name, wanted in golden["inter"].items():
        ours = seen[name].permute(0, 4, 1, 2, 3)
        assert (ours[:, :8, :, ::8, ::8] - wanted["slice"]).abs().max() < 1e-4, name
        assert ours.mean().item() == pytest.approx(wanted["mean"], abs=1e-5)
    wanted_flows = [*golden["flows_backward"], *golden["flows_forward"]]
    for ours, wanted in zip(flows, wanted_flows, strict=True):
        assert (ours[..., ::4, ::4] - wanted).abs().max() < 1e-4


def check_gradients(name):
    golden = load(name)
    vrt = network(golden, "auto").train()
    loss = charbonnier(vrt(golden["x_u8"].float() / 255), golden["gt"].float() / 255)
    loss.backward()
    assert abs(loss.item() - golden["loss"]) < 1e-6
    grads = {key: p.grad for key, p in vrt.named_parameters()}
    assert set(grads) == set(golden["grad_norm"])
    deviations = [
        abs(grads[key].double().norm().item() / norm - 1)
        for key, norm in golden["grad_norm"].items()
    ]
    assert median(deviations) < 1e-3
    assert max(deviations) < 3e-2
    for key, wanted in golden["grads"].items():
        assert (grads[key] - wanted).norm() < 2e-2 * wanted.norm(), key


def test_loss_and_gradients_match():
    check_gradients(FILES[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES[1:])
def test_loss_and_gradients_match_on_every_file(name):
    check_gradients(name)
