"""What the guide says to do or to avoid, held against a configuration before it runs."""

from dataclasses import replace

import pytest

from diagnostics.rules.configuration.rarer import rarer
from diagnostics.rules.machine.plan_findings import plan_findings
from tests.diagnostics.memory.demands import DEMAND, GIB, LOADER, machine

GUIDE = {
    "TRAIN": {"AMP_ENABLED": True},
    "DATALOADER": {"PERSISTENT_WORKERS": True},
    "PROFILING": {"RESOURCES": True},
    "MODEL": {
        "CHANNELS_PER_SCALE": [96, 96, 96, 96],
        "VRT_DEPTHS": [8, 7, 8, 8, 4, 4, 4, 6],
        "WINDOW_SIZE": 7,
    },
}


def found(settings=None, room=None, device="cuda", **loader):
    demand = replace(
        DEMAND, device=device, loader=replace(LOADER, **loader), settings=settings or GUIDE
    )
    findings = {each.rule: each for each in plan_findings(demand, room or machine())}
    changes = {
        advice.config_change.key: (advice.config_change.current, advice.config_change.proposed)
        for each in findings.values()
        for advice in each.advice
        if advice.config_change
    }
    return set(findings), changes


def with_setting(section, key, value):
    return {**GUIDE, section: {**GUIDE[section], key: value}}


def test_the_conservative_plan_gives_no_finding():
    assert found() == (set(), {})


def test_precision_is_a_matter_of_gpus():
    plain = with_setting("TRAIN", "AMP_ENABLED", False)
    assert found(plain) == ({"CF103"}, {"TRAIN.AMP_ENABLED": (False, True)})
    assert found(plain, device="cpu") == (set(), {})


@pytest.mark.parametrize(("cache_gib", "fires"), [(8.0, True), (8.1, False)])
def test_a_cache_that_is_off_though_it_fits(cache_gib, fires):
    room = machine(available_bytes=16 * GIB)
    codes, changes = found(room=room, use_cache=False, cache_gib=cache_gib)
    assert ("CF104" in codes) == fires
    assert ("DATA.USE_RAM_CACHE" in changes) == fires


def test_a_fast_store_needs_no_cache():
    room = machine(available_bytes=16 * GIB)
    settings = {**GUIDE, "DATA": {"FAST_STORE": "/data/store"}}
    codes, _ = found(settings, room=room, use_cache=False, cache_gib=8.0)
    assert "CF104" not in codes


@pytest.mark.parametrize(("workers", "fires"), [(3, True), (4, False)])
def test_fewer_workers_than_the_guide_begins_with(workers, fires):
    codes, changes = found(workers_setting=workers, workers_per_rank=workers)
    assert ("CF105" in codes) == fires
    if fires:
        assert changes["DATALOADER.TOTAL_WORKERS"] == (3, "auto")


def test_two_cores_need_one_worker():
    codes, _ = found(room=machine(cores=2), workers_setting=1, workers_per_rank=1)
    assert codes == set()


def test_workers_that_end_with_every_epoch():
    settings = with_setting("DATALOADER", "PERSISTENT_WORKERS", False)
    assert found(settings) == ({"CF106"}, {"DATALOADER.PERSISTENT_WORKERS": (False, True)})
    assert found(settings, workers_per_rank=0) == (set(), {})


def test_monitoring_that_is_off():
    settings = with_setting("PROFILING", "RESOURCES", False)
    assert found(settings) == ({"CF107"}, {"PROFILING.RESOURCES": (False, True)})


@pytest.mark.parametrize(
    ("key", "value", "fires"),
    [
        ("WINDOW_SIZE", 6, True),
        ("VRT_DEPTHS", [8, 6, 6, 8, 4, 4, 4, 4], True),
        ("VRT_DEPTHS", [8, 7, 8, 8, 4, 4, 4, 6], False),
        ("CHANNELS_PER_SCALE", [16, 16, 16, 16], False),
    ],
)
def test_a_network_cut_further_than_the_conservative_plan(key, value, fires):
    assert found(with_setting("MODEL", key, value)) == ({"CF108"} if fires else set(), {})


def test_rarer_gives_the_wanted_share():
    assert rarer(100, 0.25, 0.05) == 640
    assert rarer(100, 0.05, 0.05) == 100
    assert rarer(7, 0.5, 0.05) == 140
