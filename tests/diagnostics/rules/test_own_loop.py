"""Of another's training loop, rules propose only what that loop was seen to have."""

from dataclasses import replace

import pytest

from diagnostics.rules.catalogue import CATALOGUE
from diagnostics.rules.evaluate import evaluate
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import OWN_LOOP

GIB = 1 << 30
STARVED = Measurements(
    device="cuda",
    clock="device",
    is_own_loop=True,
    world_size=2,
    ranks_per_machine=2,
    num_steps=100,
    step_ms=100.0,
    phase_ms={"data_wait": 60.0, "forward": 20.0, "backward": 15.0, "other": 5.0},
    data_wait_exposed_ms=60.0,
    stage_ms={"body": 18.0, "forward.other": 2.0},
    stage_clock="device",
    samples_per_s=0.5,
    num_workers=2,
    cpus_allowed=32,
    host_memory_peak_bytes=10 * GIB,
    host_memory_limit_bytes=64 * GIB,
    gpu_util_percent=20.0,
    loader={"num_workers": 1, "prefetch_factor": 2, "pin_memory": 0, "persistent_workers": 0},
    # As some loops spell their own settings, which mean what they want.
    config={},
)


def changes(measured: Measurements) -> dict[str, tuple[object, object]]:
    found = evaluate(CATALOGUE, measured).findings
    given = [advice.config_change for finding in found for advice in finding.advice]
    return {each.key: (each.current, each.proposed) for each in given if each is not None}


def test_the_loader_is_advised_by_the_arguments_it_has() -> None:
    assert changes(STARVED) == {
        "DataLoader.num_workers": (1, 4),  # of each process: 8 on the machine
        "DataLoader.prefetch_factor": (2, 4),
        "DataLoader.pin_memory": (False, True),
        "DataLoader.persistent_workers": (False, True),
    }


def test_nothing_is_advised_of_a_loader_that_is_not_known() -> None:
    unknown = replace(STARVED, loader={}, num_workers=None)
    assert changes(unknown) == {}
    (wait,) = (f for f in evaluate(CATALOGUE, unknown).findings if f.rule == "DL001")
    assert "run.wrap" in wait.advice[0].text


@pytest.mark.parametrize("share", [0.95, 0.5])
def test_memory_advice_names_no_switch_of_ours(share: float) -> None:
    full = replace(
        STARVED,
        host_memory_peak_bytes=int(share * 64 * GIB),
        device_memory_peak_bytes=79 * GIB,
        device_memory_total_bytes=80 * GIB,
        num_device_oom=1,
    )
    assert all(key.startswith("DataLoader.") for key in changes(full))
    texts = [a.text for f in evaluate(CATALOGUE, full).findings for a in f.advice]
    assert any("torch.autocast" in text for text in texts)
    assert not any("configuration" in text or "vrtspike" in text for text in texts)


def test_limits_of_our_network_judge_no_other() -> None:
    asked = evaluate(CATALOGUE, STARVED)
    silent = {each.rule for each in asked.not_evaluated if each.reason == OWN_LOOP}
    named = "CF001 DL002 DL007 GP002 KN002 KN003 KN004 NU002 NU003 NU007"
    assert silent == set(named.split())
    ours = evaluate(CATALOGUE, replace(STARVED, is_own_loop=False))
    assert "CF001" in {finding.rule for finding in ours.findings}
    assert {finding.rule for finding in asked.findings} >= {"DL001", "GP001", "KN001"}
