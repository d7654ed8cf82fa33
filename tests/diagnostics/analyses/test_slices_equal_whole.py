"""However a trace is cut into blocks, chunks and slices, its analysis is that of the whole."""

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagnostics.analyses import trace_breakdown, trace_idle, trace_rows, trace_slices
from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_breakdown import break_down
from diagnostics.analyses.trace_idle import find_idle_causes
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers import trace_bytes
from diagnostics.parsers.trace_file import parse_trace
from diagnostics.trace import Trace
from tests.diagnostics.trace_factory import EventDict, event, profiler_step, work, write_trace

WORK = (
    ("kernel", "ampere_sgemm"),
    ("kernel", "ncclDevKernel_AllReduce"),
    ("kernel", "add"),
    ("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)"),
    ("gpu_memset", "Memset"),
)
CHUNKED = (trace_rows.chunks, trace_rows.chunks_apart, trace_rows.sliced)
"""Functions whose last argument has a size that is right for memory, and for nothing else."""


def busy_events(seed: int) -> list[EventDict]:
    """Steps with loading, launches, copies, waits, stacks, collections and an exchange."""
    chance = random.Random(seed)
    events = [event("python_function", "src/train.py(1): main", 0, 13_000)]
    for number in range(12):
        at = 1000.0 + 1000 * number
        events.append(profiler_step(number, at, 1000))
        events.append(event("user_annotation", "enumerate(DataLoader)#_It.__next__", at, 150))
        frame = f"src/model.py({number % 3 + 10}): forward"
        events.append(event("python_function", frame, at + 150, 700))
        end = at + 200
        for launch in range(14):
            correlation = number * 100 + launch
            called = at + 160 + 45 * launch + chance.randint(0, 20)
            began = max(called + chance.randint(3, 60), end)
            end = began + chance.randint(1, 40)
            events += one_work(chance, correlation, called, began, end - began)
        events.append(event("cuda_runtime", "cudaDeviceSynchronize", at + 820, 60))
        if number % 4 == 1:
            events.append(event("python_function", "Python GC", at + 890, 40))
    chance.shuffle(events)
    return events


def one_work(
    chance: random.Random, correlation: int, called: float, began: float, length: float
) -> list[EventDict]:
    kind, name = chance.choice(WORK)
    more: dict[str, Any] = {"External id": correlation}
    if kind == "gpu_memcpy":
        more |= {"bytes": 4096, "memory bandwidth (GB/s)": 1.0}
    stream = 20 if "nccl" in name else 7
    ran = (began, length)
    return [
        event(
            "cpu_op", f"aten::op{correlation % 5}", called - 2, 8, **{"External id": correlation}
        ),
        *work(kind, name, (called, 3), ran, correlation, stream=stream, **more),
    ]


def same(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two values differ, arrays and dataclasses inside them included."""
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        fields = dataclasses.fields(one)
        return [
            fault
            for each in fields
            for fault in same(
                getattr(one, each.name), getattr(other, each.name), f"{where}.{each.name}"
            )
        ]
    if isinstance(one, Mapping):
        if set(one) != set(other):
            return [f"{where}: {set(one) ^ set(other)}"]
        return [fault for key in one for fault in same(one[key], other[key], f"{where}[{key}]")]
    if isinstance(one, tuple | list):
        if len(one) != len(other):
            return [f"{where}: {len(one)} against {len(other)}"]
        pairs = enumerate(zip(one, other, strict=True))
        return [fault for place, pair in pairs for fault in same(*pair, f"{where}[{place}]")]
    if isinstance(one, np.ndarray):
        equal = np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        return [] if equal else [f"{where}: arrays differ"]
    is_close = isinstance(one, float) and one == pytest.approx(other, rel=1e-12, nan_ok=True)
    return [] if is_close or one == other else [f"{where}: {one!r} against {other!r}"]


@pytest.fixture(scope="module", params=range(3))
def trace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    folder = tmp_path_factory.mktemp("trace")
    return parse_trace(write_trace(folder / "t.json", busy_events(request.param)))


def test_the_trace_has_something_of_everything(trace: Trace) -> None:
    analysis = analyse_trace(trace)
    assert analysis.num_steps == 12
    assert len(analysis.idle_causes) >= 5
    assert analysis.critical_path is not None
    assert len(analysis.critical_path.parts) >= 6
    assert analysis.copies
    assert analysis.habits is not None
    assert analysis.habits.synchronisations.per_step >= 1
    assert {each.cause for each in analysis.idle_causes} >= {
        "data_loading",
        "garbage_collection",
        "queued",
    }


@pytest.mark.parametrize("num_rows", [1, 2, 17, 100])
def test_the_size_of_chunks_does_not_matter(
    trace: Trace, monkeypatch: pytest.MonkeyPatch, num_rows: int
) -> None:
    whole = analyse_trace(trace)
    for function in CHUNKED:
        monkeypatch.setattr(function, "__defaults__", (num_rows,))
    assert same(whole, analyse_trace(trace)) == []


@pytest.mark.parametrize("num_rows", [10, 60, 300])
def test_neither_the_size_nor_the_order_of_slices_matters(
    trace: Trace, monkeypatch: pytest.MonkeyPatch, num_rows: int
) -> None:
    steps = find_steps(trace)
    whole_times, whole_causes = break_down(trace, steps), find_idle_causes(trace, steps)
    monkeypatch.setattr(trace_slices, "_SAMPLED_ROWS", 4)
    cut = trace_slices.slices_at
    for order in (list, lambda parts: list(reversed(list(parts))), shuffled):
        parts = list(trace_slices.slices(trace, steps, num_rows))
        monkeypatch.setattr(trace_breakdown, "slices", lambda *_, p=parts, o=order: iter(o(p)))
        monkeypatch.setattr(trace_idle, "slices_at", lambda *a, o=order: iter(o(cut(*a))))
        assert len(parts) >= 900 / num_rows / 2
        assert same(whole_times, break_down(trace, steps)) == []
        causes = find_idle_causes(trace, steps, num_rows)
        assert same(by_cause(whole_causes), by_cause(causes)) == []


def shuffled(parts: Any) -> list[Any]:
    return random.Random(0).sample(held := list(parts), len(held))


def by_cause(causes: Any) -> dict[str, Any]:
    """Places of equal weight have no order."""
    return {each.cause: dataclasses.replace(each, places=(), where=None) for each in causes} | {
        f"{each.cause} places": sorted(place.ns for place in each.places) for each in causes
    }


@pytest.mark.parametrize("block_bytes", [1, 97, 4096])
@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_the_size_of_blocks_and_the_order_of_events_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int, name: str
) -> None:
    events = busy_events(5)
    whole = parse_trace(write_trace(tmp_path / name, events))
    random.Random(1).shuffle(events)
    monkeypatch.setattr(trace_bytes, "BLOCK_BYTES", block_bytes)
    in_parts = parse_trace(write_trace(tmp_path / name, events))
    for kind, rows in whole.events.items():
        assert times_of(rows, whole) == times_of(in_parts.events[kind], in_parts), kind
    one, other = analyse_trace(whole), analyse_trace(in_parts)
    assert same(one.breakdown, other.breakdown) == []
    assert same(by_cause(one.idle_causes), by_cause(other.idle_causes)) == []


def times_of(rows: Any, trace: Trace) -> list[tuple[int, int]]:
    """Since the trace's clock began: `start_ns` counts from the first event of the file."""
    at, until = (rows[name] + trace.origin_ns for name in ("start_ns", "end_ns"))
    return sorted(zip(at.tolist(), until.tolist(), strict=True))
