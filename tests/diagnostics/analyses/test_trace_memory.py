"""How full a device was: by its own total, never more than full, never the CPU."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from diagnostics.analyses.trace_absences import Absence
from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_memory import TraceMemory, find_memory, fullest_device
from diagnostics.parsers.trace_file import parse_trace
from diagnostics.rules.measure_trace_memory import measure_trace_memory
from tests.diagnostics.trace_factory import EventDict, memory, starved_steps, write_trace

NOT_TOLD = Absence(question="device_memory", reason="no_memory_events")


def found_in(folder: Path, instants: list[EventDict], devices: Any) -> tuple[TraceMemory, ...]:
    events = [*starved_steps(), *instants]
    path = write_trace(folder / "t.json", events, deviceProperties=devices)
    return find_memory(parse_trace(path))


def gpu(number: Any = 0, total: Any = 1000) -> dict[str, Any]:
    return {"id": number, "name": "A GPU", "totalGlobalMem": total}


def test_each_device_is_held_against_its_own_total(tmp_path: Path) -> None:
    instants = [memory(1010, 300, 900), memory(1020, 500, 800, device=1)]

    first, second = found_in(tmp_path, instants, [gpu(1, 4000), gpu(0, 1000)])

    assert (first.device_id, first.share, second.share) == (0, 0.9, 0.2)
    assert (first.name, first.total_bytes, second.total_bytes) == ("A GPU", 1000, 4000)
    assert fullest_device([second, first]) is first


def test_what_tensors_hold_counts_where_nothing_is_reserved(tmp_path: Path) -> None:
    (found,) = found_in(tmp_path, [memory(1010, 300, 0)], [gpu()])
    assert (found.peak_bytes, found.share) == (300, 0.3)


def test_the_cpu_is_no_device_and_has_no_total(tmp_path: Path) -> None:
    instants = [memory(1010, 990, 0, kind=0, device=device) for device in (-1, 0)]
    found = found_in(tmp_path, instants, [gpu(0), gpu(-1)])
    assert [(each.is_device, each.share, each.total_bytes) for each in found] == [
        (False, None, None)
    ] * 2
    assert fullest_device(found) is None


@pytest.mark.parametrize(
    "devices",
    [
        None, 7, [], ["x"], [{}], [gpu(1)], [gpu("0")], [gpu(False)], [gpu(total=0)],
        [gpu(total=-5)], [gpu(total="1000")], [gpu(total=True)], [gpu(total=10**40)],
        [gpu(total=float("nan"))], [gpu(total=1000.0)], [gpu(total=None)],
    ],
)  # fmt: skip
def test_a_total_that_is_none_gives_no_share(tmp_path: Path, devices: Any) -> None:
    (found,) = found_in(tmp_path, [memory(1010, 300, 900)], devices)
    assert (found.total_bytes, found.share, found.peak_bytes) == (None, None, 900)
    assert not found.is_contradictory


def test_more_than_there_is_gives_no_share(tmp_path: Path) -> None:
    (full,) = found_in(tmp_path, [memory(1010, 300, 1000)], [gpu()])
    (over,) = found_in(tmp_path, [memory(1010, 300, 1001)], [gpu()])
    assert (full.share, full.is_contradictory) == (1.0, False)
    assert (over.share, over.is_contradictory) == (None, True)


def test_a_known_share_counts_before_a_larger_unknown_one(tmp_path: Path) -> None:
    instants = [memory(1010, 1, 10), memory(1020, 1, 10**9, device=1)]
    known, unknown = found_in(tmp_path, instants, [gpu()])
    assert unknown.share is None
    assert fullest_device([unknown, known]) is known


@pytest.mark.parametrize(
    ("instants", "expected"), [([], True), ([memory(1010, 1, 1, kind=0)], True),
                               ([memory(1010, 1, 1)], False)],
)  # fmt: skip
def test_a_trace_that_does_not_tell_says_so(
    tmp_path: Path, instants: list[EventDict], expected: bool
) -> None:
    path = write_trace(tmp_path / "t.json", [*starved_steps(), *instants])
    assert (NOT_TOLD in analyse_trace(parse_trace(path)).absences) is expected


def test_the_rule_looks_at_the_fullest_device_of_all_traces(tmp_path: Path) -> None:
    traces = [
        analyse_trace(
            parse_trace(
                write_trace(
                    tmp_path / f"rank{rank}.json",
                    [*starved_steps(), memory(1010, 100, reserved, device=rank)],
                    deviceProperties=[gpu(0), gpu(1)],
                )
            )
        )
        for rank, reserved in ((0, 500), (1, 950))
    ]

    expected = {
        "traced_reserved_bytes": 950,
        "traced_allocated_bytes": 100,
        "traced_total_bytes": 1000,
        "traced_device": 1,
        "traced_file": "rank1.json",
    }
    assert measure_trace_memory(traces) == expected
    assert measure_trace_memory(traces[::-1]) == expected
    assert measure_trace_memory([dataclasses.replace(each, memory=()) for each in traces]) == {}
