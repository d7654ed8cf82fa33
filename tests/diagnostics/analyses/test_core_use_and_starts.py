"""Whose work keeps the cores busy, what starts of the loader cost, and how learning goes."""

import pandas as pd
import pytest

from diagnostics import loading_tables
from diagnostics import tables as declared
from diagnostics.analyses.core_use import compute_core_use
from diagnostics.analyses.gpu_sharing import GpuSharing
from diagnostics.analyses.learning_course import compute_learning_course
from diagnostics.analyses.loader_starts import compute_loader_starts
from diagnostics.analyses.ranking import priority_of
from diagnostics.analyses.selection import count_selected
from diagnostics.analyses.unnamed_phases import without_unnamed_phases
from diagnostics.run import RunInfo
from tests.diagnostics.factories import phase_rows, run_of


def machine(cpu_percent, own_percent, num_cores=4, samples=6, roles=("main", "main")):
    times = [1000.0 + i for i in range(samples)]
    rows = [{"host": "a", "at_unix_s": t, "cpu_percent": cpu_percent} for t in times]
    processes = [
        {"host": "a", "at_unix_s": t, "pid": pid, "role": role, "name": "x", "cpu_percent": p}
        for t in times
        for pid, (p, role) in enumerate(zip(own_percent, roles, strict=False))
    ]
    cores = [
        {"host": "a", "at_unix_s": t, "core": core, "cpu_percent": cpu_percent}
        for t in times
        for core in range(num_cores)
    ]
    return compute_core_use(
        run_of(
            host=declared.HOST.from_records(rows),
            processes=declared.PROCESSES.from_records(processes),
            cores=declared.CORES.from_records(cores),
        )
    )


def test_what_the_run_did_not_use_others_did():
    (use,) = machine(100.0, [120.0, 30.0])
    assert (use.cores, use.busy_cores, use.own_cores) == (4, 4.0, 1.5)
    assert use.foreign_cores == pytest.approx(2.5)
    assert (use.busy_share, use.foreign_share) == (1.0, 0.625)


def test_the_loading_processes_are_a_part_of_the_run_s_own():
    (use,) = machine(100.0, [120.0, 30.0, 20.0], roles=("main", "worker", "worker"))
    assert (use.own_cores, use.loader_cores) == (1.7, 0.5)
    (without,) = machine(100.0, [120.0])
    assert without.loader_cores is None


def test_readings_some_milliseconds_apart_are_no_negative_neighbour():
    (use,) = machine(50.0, [210.0])
    assert use.foreign_cores == 0.0


def test_few_samples_and_machines_without_cores_say_nothing():
    assert machine(100.0, [50.0], samples=4) == ()
    assert machine(100.0, [50.0], num_cores=0) == ()


def starts(waits, starting, firsts=None):
    """Steps whose fetches wait so long, some with so much time for the loader's start before.

    `firsts` are the steps whose records say that the loader had just been started.
    """
    fetches = loading_tables.FETCHES.from_records(
        [
            {
                "rank": 0,
                "step": s,
                "is_tagged": False,
                "number": 0,
                "wait_ms": ms,
                "is_first": None if firsts is None else float(s in firsts),
            }
            for s, ms in waits.items()
        ]
    )
    rows = [(0, s, "data_wait", ms + starting.get(s, 0.0)) for s, ms in waits.items()]
    steps = pd.DataFrame({"rank": [0] * len(waits), "step": list(waits)})
    return compute_loader_starts(run_of(fetches=fetches, phases=phase_rows(rows), steps=steps))


def test_a_start_is_what_the_wait_has_beyond_its_fetches():
    found = starts({1: 300.0, 2: 1.0, 3: 50.0, 4: 1.0}, {1: 900.0, 3: 150.0})
    assert (found.count, found.num_steps) == (1, 4)
    assert found.mean_ms == pytest.approx(200.0)
    assert found.cost_ms_per_step == pytest.approx(50.0)


def test_a_start_that_is_told_counts_however_short():
    found = starts({1: 9.0, 2: 0.1, 3: 0.4, 4: 0.1}, {1: 15.0, 3: 0.3, 4: 3.0}, firsts={1, 3})
    assert found.is_told
    assert (found.count, found.num_steps) == (1, 4)  # step 4 lost its core, it started nothing
    assert found.mean_ms == pytest.approx(0.7)
    assert found.cost_ms_per_step == pytest.approx(0.7 / 4)


@pytest.mark.parametrize(("start_ms", "count"), [(0.49, 0), (0.51, 1)])
def test_of_older_records_a_start_is_what_takes_longer_than_the_clocks(start_ms, count):
    found = starts({1: 9.0, 2: 0.1, 3: 0.4}, {1: 15.0, 3: start_ms})
    assert (found.is_told, found.count) == (False, count)


def test_without_fetches_nothing_watched_the_loader():
    assert compute_loader_starts(run_of()) is None


def learning(losses, norms=None, rates=None, limit=None):
    steps = declared.STEPS.from_records(
        [
            {
                "rank": 0, "step": n, "num_steps": 1, "is_tagged": False, "tags": "",
                "num_tagged": 0, "clock": "host", "loss": loss,
                "grad_norm": None if norms is None else norms[n],
                "lr": None if rates is None else rates[n],
            }
            for n, loss in enumerate(losses)
        ]
    )  # fmt: skip
    return compute_learning_course(run_of(steps=steps), limit)


def test_the_loss_s_change_is_that_of_the_second_half():
    found = learning([5.0] * 50 + [1.0 - 0.002 * n for n in range(50)])
    assert found.num_losses == 50
    assert found.loss_change_share == pytest.approx(-0.098 / 0.951, rel=1e-3)
    assert found.loss_change_high_share < 0


def test_clipped_gradients_need_a_limit_and_rates_are_counted():
    found = learning([1.0] * 4, norms=[0.5, 2.0, 3.0, 4.0], rates=[0.0, 0.0, 1e-4, 1e-4], limit=1.0)
    assert (found.clipped_share, found.num_zero_rate, found.num_rates) == (0.75, 2, 4)
    assert learning([1.0] * 4, norms=[9.0] * 4).clipped_share is None


def test_memory_of_others_is_never_below_zero():
    assert GpuSharing(host="a", index=0, used_bytes=5, reserved_bytes=9).other_bytes == 0


@pytest.mark.parametrize(
    ("share", "of_step", "expected"),
    [
        (0.5, 0.019, "low"),
        (0.5, 0.02, "very high"),
        (0.5, None, "very high"),
        (0.06, 0.5, "medium"),
    ],
)
def test_a_stage_that_the_step_hardly_feels_has_a_low_priority(share, of_step, expected):
    assert priority_of(share, of_step) == expected


@pytest.mark.parametrize(("trainer", "kept"), [("own", {"forward", "step"}), (None, None)])
def test_phases_that_a_loop_never_opened_are_no_measurement(trainer, kept):
    rows = [(0, 1, "forward", 5.0), (0, 1, "h2d", 0.0), (0, 1, "loss", 0.0), (0, 1, "step", 5.0)]
    left = without_unnamed_phases(run_of(info=RunInfo(trainer=trainer), phases=phase_rows(rows)))
    assert set(left["name"]) == (kept or {"forward", "h2d", "loss", "step"})


def test_a_step_with_two_tags_is_counted_once_by_all_of_them():
    steps = declared.STEPS.from_records(
        [
            {
                "rank": rank, "step": step, "num_steps": 1, "is_tagged": bool(tags), "tags": tags,
                "num_tagged": int(bool(tags)), "clock": "host",
            }
            for rank in (0, 1)
            for step, tags in ((1, "first"), (2, ""), (3, "validation,checkpoint"), (4, ""))
        ]
    )  # fmt: skip
    found = count_selected(steps)
    assert found.by_tags == {"first": 1, "validation + checkpoint": 1}
    assert sum(found.by_tags.values()) == found.excluded == 2
    assert found.by_tag["checkpoint"] == 1
