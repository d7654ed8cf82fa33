"""Copies by direction and memory: bytes, speed, what no kernel hides."""

from pathlib import Path

import pytest

from diagnostics.analyses.trace_copies import use_of_copies
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import EventDict, kernel, profiler_step, work, write_trace


def copied(tmp_path: Path, *names_and_times: tuple[str, float, float, float | None]) -> dict:
    events: list[EventDict] = [profiler_step(1, 0, 1000), *kernel("k", 0, 100, 100, 1)]
    for number, (name, ts, dur, num_bytes) in enumerate(names_and_times):
        size = {} if num_bytes is None else {"bytes": num_bytes}
        events += work("gpu_memcpy", name, (ts, 1), (ts, dur), 10 + number, **size)
    trace = parse_trace(write_trace(tmp_path / "t.json", events))
    found = use_of_copies(trace, find_steps(trace).window)
    return {(each.direction, each.memory): each for each in found}


def test_the_name_tells_direction_and_memory(tmp_path: Path) -> None:
    found = copied(
        tmp_path,
        ("Memcpy HtoD (Pageable -> Device)", 300, 10, 1e4),
        ("Memcpy HtoD (Pinned -> Device)", 320, 10, 1e5),
        ("Memcpy DtoH (Device -> Pinned)", 340, 10, 1e5),
        ("Memcpy DtoD (Device -> Device)", 360, 10, 1e6),
        ("Memcpy PtoP (Device -> Device)", 380, 10, 1e6),
        ("CopyHostToDevice", 400, 10, 1e4),
        ("something else", 420, 10, None),
    )

    assert set(found) == {
        ("to_device", "pageable"), ("to_device", "pinned"), ("from_device", "pinned"),
        ("on_device", None), ("between_devices", None), ("to_device", None), ("other", None),
    }  # fmt: skip
    assert found["to_device", "pageable"].gb_per_s == pytest.approx(1.0)
    assert found["on_device", None].gb_per_s == pytest.approx(100.0)
    assert found["other", None].gb_per_s is None
    assert found["other", None].num_bytes is None


def test_what_a_kernel_hides_is_not_exposed_and_speed_needs_a_size(tmp_path: Path) -> None:
    found = copied(
        tmp_path,
        ("Memcpy HtoD (Pinned -> Device)", 150, 100, 1e6),  # half of it beside the kernel
        ("Memcpy HtoD (Pinned -> Device)", 500, 100, None),
        ("Memcpy HtoD (Pinned -> Device)", 5000, 100, 1e6),  # after the step
    )
    use = found["to_device", "pinned"]

    assert (use.count, use.num_sized) == (2, 1)
    assert (use.ns, use.exposed_ns) == (200_000, 150_000)
    assert use.share_of_window == pytest.approx(0.2)
    assert use.gb_per_s == pytest.approx(10.0)
