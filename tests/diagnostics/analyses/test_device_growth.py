"""Tensors that grow on a device, by rank, process and machine."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagnostics import tables as declared
from diagnostics.analyses.device_growth import compute_device_growth
from diagnostics.analyses.memory_course import compute_memory_courses
from diagnostics.load import load_run
from diagnostics.run import FACTS, Run, RunInfo, RunTables

DATA = Path(__file__).resolve().parents[2] / "data"
MB = 1e6
STEPS = np.arange(1, 101)


def rows(table, count, **columns):
    return table.empty().reindex(range(count)).assign(**columns)


def growth_of(sizes_by_rank, hosts=(), pid=None, steps=STEPS):
    """`hosts` are the machines of ranks, whose processes are 70, 71, ..."""
    parts = [
        rows(
            declared.STEPS,
            len(steps),
            rank=rank,
            step=steps,
            start_unix_s=steps * 0.1,
            device_allocated_bytes=np.asarray(sizes, dtype="float64"),
        )
        for rank, sizes in enumerate(sizes_by_rank)
    ]
    places = rows(
        declared.RANK_PLACES,
        len(hosts),
        rank=range(len(hosts)),
        pid=[70.0 + rank for rank in range(len(hosts))],
        host=list(hosts),
    )
    run = Run(
        inputs=(),
        evidence=FACTS,
        info=RunInfo(pid=pid, host="box", device={"type": "cuda"}),
        tables=RunTables(steps=pd.concat(parts), rank_places=places),
    )
    return compute_device_growth(run, compute_memory_courses(run))


def leaking(seed=0, count=100):
    return 1e9 + MB * np.arange(count) + np.random.default_rng(seed).normal(scale=MB, size=count)


LEVEL = np.full(100, 1e9)


def test_the_rank_that_leaks_is_named_with_its_process():
    found = growth_of([LEVEL, leaking()], hosts=("box", "box"))
    (growing,) = found.growing
    assert (growing.owner, growing.pid, growing.host) == ("rank 1", 71, None)
    assert growing.trend.slope == pytest.approx(MB, rel=0.1)
    assert (found.num_steps, found.num_judged) == (99, 2)


def test_of_several_machines_each_is_named():
    found = growth_of([LEVEL, leaking()], hosts=("a", "b"))
    assert [(each.pid, each.host) for each in found.growing] == [(71, "b")]


def test_all_that_leak_are_told_the_steepest_first():
    found = growth_of([leaking(), 2 * leaking(1), LEVEL])
    assert [each.owner for each in found.growing] == ["rank 1", "rank 0"]


def test_rank_0_is_known_from_the_run_itself():
    (growing,) = growth_of([leaking()], pid=4242).growing
    assert growing.pid == 4242
    (unknown,) = growth_of([leaking()]).growing
    assert unknown.pid is None


def test_a_jump_is_no_growth():
    found = growth_of([1e9 + 1e9 * (STEPS > 60)])
    assert (found.growing, found.num_judged) == ((), 1)


def test_a_leak_that_begins_late_is_told_from_there():
    steps = np.arange(1, 801)
    sizes = 1e9 + MB * np.maximum(0, steps - 500) + np.random.default_rng(0).normal(size=800)
    (growing,) = growth_of([sizes], steps=steps).growing
    assert growing.trend.first == pytest.approx(500, abs=30)


def test_few_steps_and_none_are_not_judged():
    assert growth_of([LEVEL[:5]], steps=STEPS[:5]).num_judged == 0
    assert growth_of([np.full(100, np.nan)]).num_steps is None


def test_facts_that_the_recorder_wrote_are_read_to_rank_and_process():
    """tests/data/device_leak/README.md says how they were made."""
    run = load_run([next((DATA / "device_leak" / "profiles").iterdir())])
    found = compute_device_growth(run, compute_memory_courses(run))
    (growing,) = found.growing
    assert (growing.owner, growing.pid) == ("rank 1", 24004)
    assert growing.trend.slope == pytest.approx(MB, rel=0.1)
    assert (growing.trend.first, growing.trend.last) == (21, 100)
