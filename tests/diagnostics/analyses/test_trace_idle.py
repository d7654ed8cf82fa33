"""Idle time of the device blamed on what the launching thread did, and where in its code."""

from pathlib import Path

import pytest

from diagnostics.analyses.trace_breakdown import break_down
from diagnostics.analyses.trace_idle import IdleCause, find_idle_causes
from diagnostics.analyses.trace_places import is_own_code
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import (
    EventDict,
    event,
    kernel,
    profiler_step,
    work,
    write_trace,
)


def causes(tmp_path: Path, events: list[EventDict]) -> dict[str, IdleCause]:
    trace = parse_trace(write_trace(tmp_path / "t.json", [profiler_step(1, 0, 100), *events]))
    steps = find_steps(trace)
    found = find_idle_causes(trace, steps)
    whole = break_down(trace, steps)
    assert whole is not None
    assert sum(each.ns for each in found) == round((whole.idle_share or 0) * whole.window_ns)
    return {each.cause: each for each in found}


def test_work_that_was_launched_long_ago_is_nobodys_fault_on_the_host(tmp_path: Path) -> None:
    found = causes(tmp_path, [*kernel("k", 8, 60, 40, 1), event("cpu_op", "aten::mm", 0, 60)])

    assert (found["launching"].ns, found["queued"].ns) == (10_000, 50_000)
    assert (found["queued"].num_gaps, found["queued"].places) == (1, ())


def test_the_collector_of_garbage_is_told_from_other_python(tmp_path: Path) -> None:
    found = causes(
        tmp_path,
        [
            event("python_function", "train.py(3): loop", 0, 98),
            event("python_function", "Python GC", 10, 30),
            *kernel("k", 58, 60, 40, 1),
        ],
    )

    assert found["garbage_collection"].ns == 30_000
    assert found["garbage_collection"].where == "train.py:3 loop"
    assert found["python"].ns == 28_000


def test_each_gap_goes_to_the_innermost_line_of_the_programs_own_code(tmp_path: Path) -> None:
    found = causes(
        tmp_path,
        [
            event("python_function", "train.py(3): loop", 0, 98),
            event("python_function", "data/clips.py(7): read", 5, 30),
            event("python_function", "json/decoder.py(343): raw_decode", 6, 20),
            event("python_function", "torch/nn/modules/module.py(1): _call_impl", 40, 10),
            event("python_function", "<built-in method sleep>", 36, 2),
            *kernel("k", 58, 60, 40, 1),
        ],
    )
    python = found["python"]

    assert [(place.where, place.ns) for place in python.places] == [
        ("data/clips.py:7 read", 30_000),
        ("train.py:3 loop", 28_000),
    ]
    assert all(place.is_frame for place in python.places)
    assert python.where == "data/clips.py:7 read"


def test_places_sum_to_their_cause_and_name_calls_without_stacks(tmp_path: Path) -> None:
    found = causes(
        tmp_path,
        [
            event("user_annotation", "augment", 0, 30),
            event("cpu_op", "aten::item", 30, 20),
            event("cpu_op", "aten::_local_scalar_dense", 32, 16),
            *kernel("k", 58, 60, 40, 1),
        ],
    )

    assert [(p.where, p.ns) for p in found["python"].places] == [("augment", 30_000)]
    assert [(p.where, p.ns) for p in found["synchronisation"].places] == [
        ("aten::_local_scalar_dense", 16_000),
        ("aten::item", 4_000),
    ]
    assert found["synchronisation"].where is None
    assert sum(p.ns for p in found["synchronisation"].places) == found["synchronisation"].ns


def test_a_launch_that_is_not_in_the_trace_leaves_its_gap_unattributed(tmp_path: Path) -> None:
    known = kernel("k", 28, 30, 10, 1)
    lost = work("kernel", "k", (0, 1), (60, 40), 2)[1:]

    found = causes(tmp_path, [*known, *lost, event("cpu_op", "aten::mm", 0, 100)])

    assert found["launching"].ns == 30_000
    assert found["unattributed"].ns == 20_000


def test_only_the_launching_thread_counts(tmp_path: Path) -> None:
    other = event("cpu_op", "aten::mm", 0, 60, tid=999)
    found = causes(tmp_path, [*work("kernel", "k", (58, 2), (60, 40), 1, tid=5), other])

    assert set(found) == {"unattributed", "launching"}
    assert found["launching"].ns == 2_000


def test_ranges_that_old_traces_list_as_operators_are_python(tmp_path: Path) -> None:
    found = causes(
        tmp_path, [event("Operator", "## forward ##", 0, 60), *kernel("k", 58, 60, 40, 1)]
    )

    assert found["python"].ns == 58_000


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("train.py", True),
        ("src/models/net.py", True),
        ("/data/project/data/clips.py", True),
        ("torch/utils/data/dataloader.py", False),
        ("threading.py", False),
        ("/opt/env/lib/python3.11/json/decoder.py", False),
        ("/opt/env/lib/python3.11/site-packages/mine/x.py", False),
        ("numpy/core/numeric.py", False),
    ],
)
def test_what_counts_as_the_programs_own_code(file: str, own: bool) -> None:
    assert is_own_code(file) is own
