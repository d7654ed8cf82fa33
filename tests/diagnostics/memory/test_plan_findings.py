"""What the guide says to do or to avoid, held against a configuration before it runs."""

from dataclasses import replace

import pytest

from diagnostics.analyses.loading_plan import LoadingPlan, SamplePrice
from diagnostics.rules.configuration.rarer import rarer
from diagnostics.rules.machine.plan_findings import plan_findings
from diagnostics.rules.one_proposal import one_proposal_each
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


SAMPLE = SamplePrice(
    samples=8, made_ms=100.0, cpu_ms=90.0, slowest_ms=120.0, cached_ms=20.0, spent_ms=900.0
)
PLAN = LoadingPlan(
    sample=SAMPLE,
    step_ms=50.0,
    step_source="run x",
    samples_per_step=1,
    workers_needed_per_rank=3,
    workers_limit_per_rank=7,
    guide_workers_per_rank=6,
    prefetch_needed=2,
    fed_ms=100.0,
    threads_per_worker=1,
    reason=None,
)


def loading(plan, cores=8, **loader):
    demand = replace(
        DEMAND, device="cuda", loader=replace(LOADER, **loader), settings=GUIDE, loading_plan=plan
    )
    return {each.rule: each for each in plan_findings(demand, machine(cores=cores))}


@pytest.mark.parametrize(("fed_ms", "fires"), [(50.0, False), (50.1, True)])
def test_loading_slower_than_the_steps_asks_for_as_many_as_keep_up(fed_ms, fires):
    found = loading(replace(PLAN, fed_ms=fed_ms), workers_setting=2, workers_per_rank=2)
    assert ("CF109" in found) == fires
    if fires:
        change = found["CF109"].advice[0].config_change
        assert (change.key, change.current, change.proposed) == ("DATALOADER.TOTAL_WORKERS", 2, 3)


def test_where_the_cores_are_used_up_a_sample_must_become_cheaper():
    plan = replace(PLAN, workers_limit_per_rank=1)
    off = loading(plan, cores=2, workers_setting=1, workers_per_rank=1, use_cache=False)
    change = off["CF109"].advice[0].config_change
    assert (change.key, change.proposed) == ("DATA.USE_RAM_CACHE", True)
    on = loading(plan, cores=2, workers_setting=1, workers_per_rank=1, use_cache=True)
    assert on["CF109"].advice[0].config_change is None
    assert "20.0 ms are left" in on["CF109"].advice[0].text


@pytest.mark.parametrize(("cpu_ms", "waits"), [(49.0, True), (50.0, False)])
def test_a_sample_that_waits_for_a_disk_needs_no_cores(cpu_ms, waits):
    plan = replace(PLAN, sample=replace(SAMPLE, cpu_ms=cpu_ms))
    found = loading(plan, workers_setting=2, workers_per_rank=2, use_cache=False)
    advice = found["CF109"].advice[0]
    assert advice.config_change.key == (
        "DATA.USE_RAM_CACHE" if waits else "DATALOADER.TOTAL_WORKERS"
    )
    assert ("computes for 49% of its 100.0 ms" in advice.text) == waits
    on = loading(plan, workers_setting=2, workers_per_rank=2, use_cache=True)
    assert (on["CF109"].advice[0].config_change is None) == waits


def test_without_both_prices_nothing_is_said_about_them():
    for plan in (
        None,
        replace(PLAN, sample=None, fed_ms=None, workers_needed_per_rank=None),
        replace(PLAN, step_ms=None, workers_needed_per_rank=None),
    ):
        assert "CF109" not in loading(plan, workers_setting=1, workers_per_rank=1)


def test_what_was_timed_counts_more_than_the_guides_number():
    few = {"workers_setting": 3, "workers_per_rank": 3}
    assert "CF105" in loading(None, **few)
    assert "CF105" not in loading(replace(PLAN, fed_ms=33.0), **few)
    assert "CF105" in loading(replace(PLAN, workers_needed_per_rank=4), **few)


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


@pytest.mark.parametrize(("needed", "fires"), [(1, False), (2, False), (3, True), (None, True)])
def test_a_cache_is_not_proposed_where_the_steps_are_fed_without_it(needed, fires):
    plan = replace(
        PLAN, workers_needed_per_rank=needed, reason="no step time is known" if not needed else None
    )
    found = loading(plan, workers_setting=2, workers_per_rank=2, use_cache=False, cache_gib=1.0)
    assert ("CF104" in found) == fires
    if fires:
        is_said = "whether a step would wait for data without it is not known" in str(
            found["CF104"].summary
        )
        assert is_said == (needed is None)


def test_one_of_two_that_ask_for_the_same_proposes_it_and_the_other_points_to_it():
    plan = replace(PLAN, workers_limit_per_rank=1)
    found = loading(plan, cores=2, workers_setting=1, workers_per_rank=1, use_cache=False)
    both = one_proposal_each([found["CF104"], found["CF109"]])
    changes = [(each.rule, advice.config_change) for each in both for advice in each.advice]
    assert [(rule, change is not None) for rule, change in changes] == [
        ("CF104", False),
        ("CF109", True),
    ]
    assert both[0].advice[0].text.startswith("CF109 proposes the same")
    assert "DATA.USE_RAM_CACHE = true" in both[0].advice[0].text
    assert one_proposal_each([found["CF109"]]) == (found["CF109"],)
