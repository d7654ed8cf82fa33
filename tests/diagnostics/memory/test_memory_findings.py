"""The guide's rules, and findings about machine and forecast, on both sides of each limit."""

from dataclasses import replace

import pytest

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.machine_jobs import Job, Member
from diagnostics.analyses.memory_checks import (
    AUTO_RULE,
    CACHE_SHARE_RULE,
    CACHE_TABLE_RULE,
    CORES_RULE,
    HALF_CORES_RULE,
    ONE_GPU_RULE,
    SEVERAL_GPUS_RULE,
    check_rules,
    guide_bounds,
)
from diagnostics.analyses.memory_demand import SettingChange
from diagnostics.analyses.memory_forecast import forecast
from diagnostics.machine import ProcessState
from diagnostics.rules.contradictions import without_contradictions
from diagnostics.rules.finding import Finding, Severity
from diagnostics.rules.machine.forecast_findings import forecast_findings
from diagnostics.rules.machine.guide_limits import guide_findings
from diagnostics.rules.machine.host_pressure import pressure_findings
from diagnostics.rules.machine.setting_advice import verify_command
from diagnostics.rules.machine.shared_memory import shared_memory_findings
from tests.diagnostics.memory.demands import DEMAND, GIB, LOADER, MIB, machine


def bounds_of(ranks: int = 1, **changes: object) -> dict[str, tuple[float | None, float | None]]:
    room = machine(**changes)
    return {each.rule: (each.low, each.high) for each in guide_bounds(room, ranks)}


@pytest.mark.parametrize(
    ("size_gib", "expected"),
    [(256, (50, 80)), (251, (50, 80)), (128, (20, 40)), (64, (10, 20)), (62, (10, 20))],
)
def test_the_sizing_table(size_gib: int, expected: tuple[float, float]) -> None:
    assert bounds_of(memory_limit_bytes=size_gib * GIB)[CACHE_TABLE_RULE] == expected


def test_a_small_machine_has_no_row_but_its_half() -> None:
    found = bounds_of(memory_limit_bytes=24 * GIB)
    assert found[CACHE_TABLE_RULE] == (None, None)
    assert found[CACHE_SHARE_RULE] == (None, 12.0)


def test_worker_rules_of_the_guide() -> None:
    one = bounds_of(cores=40)
    assert one[CORES_RULE] == (None, 40)
    assert one[HALF_CORES_RULE] == (None, 20)
    assert one[AUTO_RULE] == (32, 32)
    assert one[ONE_GPU_RULE] == (4, 8)
    three = bounds_of(ranks=3, cores=40)
    assert three[AUTO_RULE] == (30, 30)
    assert three[SEVERAL_GPUS_RULE] == (12, 12)
    assert bounds_of(cores=2)[AUTO_RULE] == (4, 4)  # contradicts the cores; the tool shows both
    assert bounds_of(ranks=4, cores=2)[AUTO_RULE] == (16, 16)


def test_what_is_not_known_is_not_judged() -> None:
    bounds = guide_bounds(machine(memory_limit_bytes=None, cores=None), 1)
    assert {each.status for each in check_rules(bounds, LOADER, 1)} == {"not_evaluated"}
    assert all(each.reason for each in bounds)


def test_rules_about_a_cache_need_one() -> None:
    bounds = guide_bounds(machine(), 1)
    names = [c.bounds.rule for c in check_rules(bounds, replace(LOADER, use_cache=False), 1)]
    assert CACHE_SHARE_RULE not in names
    assert CORES_RULE in names


def findings_for(
    room: Capacity, cache_gib: float = 20.0, workers: int = 6, ranks: int = 1
) -> dict[str, Finding]:
    loader = replace(LOADER, cache_gib=cache_gib, workers_per_rank=workers // ranks)
    demand = replace(DEMAND, loader=loader, ranks=ranks)
    checks = check_rules(guide_bounds(room, ranks), loader, ranks)
    found = [*forecast_findings(forecast(demand, room, ())), *guide_findings(demand, checks)]
    return {finding.rule: finding for finding in found}


def test_a_healthy_configuration_gives_no_finding() -> None:
    assert findings_for(machine()) == {}


@pytest.mark.parametrize(("cache_gib", "fires"), [(32.0, False), (32.5, True)])
def test_cache_above_half_of_memory(cache_gib: float, fires: bool) -> None:
    found = findings_for(machine(), cache_gib=cache_gib)
    assert ("CF101" in found) == fires
    if fires:
        change = found["CF101"].advice[0].config_change
        assert change is not None
        assert (change.key, change.proposed) == ("DATA.CACHE_SIZE_GB", 32.0)


@pytest.mark.parametrize(("workers", "fires"), [(8, False), (9, True)])
def test_more_workers_than_cores(workers: int, fires: bool) -> None:
    found = findings_for(machine(), workers=workers)
    assert ("CF102" in found) == fires
    if fires:
        change = found["CF102"].advice[0].config_change
        assert change is not None
        assert (change.key, change.proposed) == ("DATALOADER.TOTAL_WORKERS", 8)


def test_as_many_training_processes_as_cores_leave_no_number_of_workers_to_propose() -> None:
    found = findings_for(machine(cores=2), ranks=4, workers=4)
    (advice,) = found["CF102"].advice
    assert advice.config_change is None
    assert advice.text == (
        "Start fewer training processes on this machine: 4 of them, each with a loader process, "
        "are more than its 2 cores."
    )
    assert findings_for(machine(cores=2), ranks=2, workers=2).get("CF102") is None


def test_what_does_not_fit_is_critical_and_says_what_to_change() -> None:
    room = machine(memory_limit_bytes=20 * GIB, available_bytes=18 * GIB)
    finding = findings_for(room)["HM104"]
    assert finding.severity is Severity.CRITICAL
    assert finding.cost_bytes
    change = finding.advice[0].config_change
    assert change is not None
    assert (change.key, change.current) == ("DATA.CACHE_SIZE_GB", 20.0)
    assert finding.advice[0].verify == (
        f"python diagnose_memory.py --config some.yaml DATA.CACHE_SIZE_GB={change.proposed:g}"
    )
    assert "and fits" in finding.advice[-1].text


def test_no_advice_of_a_forecast_contradicts_another() -> None:
    """The cache is to go: advice on its size is moot, and the finding says whose advice counts."""
    room = machine(memory_limit_bytes=3 * GIB, available_bytes=2 * GIB, cores=2)
    found = without_contradictions(tuple(findings_for(room, workers=6).values()))
    changes = [(f.rule, a.config_change) for f in found for a in f.advice if a.config_change]
    keys = [change.key for _, change in changes]
    assert len(keys) == len(set(keys))
    assert "DATA.USE_RAM_CACHE" in keys
    assert "DATA.CACHE_SIZE_GB" not in keys
    by_rule = {finding.rule: finding for finding in found}
    for rule in ("CF101", "CF102"):
        assert [item.text.partition(":")[0] for item in by_rule[rule].advice] == [
            "The advice of HM104 goes first"
        ]


def test_tight_is_a_warning() -> None:
    room = machine(memory_limit_bytes=24 * GIB, available_bytes=22 * GIB)
    assert findings_for(room)["HM104"].severity is Severity.WARN


def test_too_little_shared_memory_names_the_cure_of_containers() -> None:
    room = machine(shm_total_bytes=64 * MIB, shm_free_bytes=64 * MIB)
    finding = findings_for(room)["HM105"]
    assert "--shm-size" in finding.advice[0].text
    assert finding.advice[1].config_change is not None


def test_a_machine_too_small_for_it_is_said() -> None:
    room = machine(memory_limit_bytes=200 * MIB, available_bytes=100 * MIB)
    assert "too small" in findings_for(room)["HM104"].advice[-1].text


def job(pid: int, size: int) -> Job:
    state = ProcessState(pid=pid, parent_pid=1, name="python", pss_bytes=size)
    return Job(root_pid=pid, members=(Member(role="main", process=state),))


def machine_codes(used_share: float, jobs: int = 0) -> dict[str, Finding]:
    room = machine(available_bytes=round(64 * GIB * (1 - used_share)))
    running = [job(10 + n, GIB) for n in range(jobs)]
    return {finding.rule: finding for finding in pressure_findings(room, running)}


@pytest.mark.parametrize(
    ("share", "severity"),
    [(0.5, None), (0.90, None), (0.91, Severity.WARN), (0.98, Severity.CRITICAL)],
)
def test_a_machine_nearly_full(share: float, severity: Severity | None) -> None:
    found = machine_codes(share).get("HM101")
    assert (found.severity if found else None) == severity


@pytest.mark.parametrize(
    ("share", "jobs", "fires"), [(0.85, 2, True), (0.85, 1, False), (0.79, 2, False)]
)
def test_several_jobs_on_a_tight_machine(share: float, jobs: int, fires: bool) -> None:
    found = machine_codes(share, jobs)
    assert ("HM102" in found) == fires
    if fires:
        assert found["HM102"].cost_bytes == 2 * GIB


@pytest.mark.parametrize(("size", "fires"), [(64 * MIB, True), (65 * MIB, False), (None, False)])
def test_a_containers_default_shared_memory(size: int | None, fires: bool) -> None:
    found = {each.rule for each in shared_memory_findings(machine(shm_total_bytes=size))}
    assert ("HM103" in found) == fires


def test_an_unreadable_machine_gives_no_finding() -> None:
    blind = machine(memory_limit_bytes=None, available_bytes=None, shm_total_bytes=None)
    assert list(pressure_findings(blind, [job(1, GIB), job(2, GIB)])) == []
    assert list(shared_memory_findings(blind)) == []


def test_the_command_that_checks_repeats_what_was_asked_and_each_setting_once() -> None:
    changes = [
        SettingChange(key="DATALOADER.TOTAL_WORKERS", current=128, proposed=64),
        SettingChange(key="DATA.VAL_CROP_SIZE", current=64, proposed=None),
    ]
    asked = "'my plan.yaml' DATALOADER.TOTAL_WORKERS=128 TRAIN.BATCH_SIZE=2 --ranks 8 --step-ms 900"
    assert verify_command(asked, changes) == (
        "python diagnose_memory.py --config 'my plan.yaml' DATALOADER.TOTAL_WORKERS=64 "
        "TRAIN.BATCH_SIZE=2 --ranks 8 --step-ms 900 DATA.VAL_CROP_SIZE=null"
    )
    assert verify_command("it's.yaml", []).startswith("python diagnose_memory.py --config ")
