"""Small traces for tests, in the shape that Kineto writes."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diagnostics.trace import KINDS, Trace

MAIN_THREAD, LOADER_THREAD, STREAM = 100, 101, 7

EventDict = dict[str, Any]


def event(
    cat: str, name: str, ts: float, dur: float, *, tid: Any = MAIN_THREAD, **args: Any
) -> EventDict:
    """A complete event; times in us."""
    return {
        "ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": ts, "dur": dur,
        "args": args,
    }  # fmt: skip


def kernel(
    name: str, launch_ts: float, ts: float, dur: float, correlation: int, **args: Any
) -> list[EventDict]:
    """A kernel and the call that launched it."""
    return work("kernel", name, (launch_ts, 2), (ts, dur), correlation, **args)


def work(
    cat: str,
    name: str,
    launched: tuple[float, float],
    ran: tuple[float, float],
    correlation: int,
    *,
    tid: Any = MAIN_THREAD,
    stream: int = STREAM,
    call: str = "cudaLaunchKernel",
    **args: Any,
) -> list[EventDict]:  # fmt: skip
    """Work of the device and the call behind it; both as begin and duration, in us."""
    return [
        event("cuda_runtime", call, *launched, tid=tid, correlation=correlation),
        event(
            cat, name, *ran, tid=stream, correlation=correlation, stream=stream, device=0, **args
        ),
    ]


def memory(
    ts: Any, allocated: Any, reserved: Any, *, kind: Any = 1, device: Any = 0
) -> EventDict:  # fmt: skip
    """An instant after an allocation or a free: totals in bytes, of a GPU unless `kind` is 0."""
    args = {
        "Total Reserved": reserved, "Total Allocated": allocated, "Bytes": 512,
        "Device Id": device, "Device Type": kind, "Addr": 94113236906560, "finished": False,
    }  # fmt: skip
    return {
        "ph": "i", "cat": "cpu_instant_event", "s": "t", "name": "[memory]", "pid": 1,
        "tid": MAIN_THREAD, "ts": ts, "args": args,
    }  # fmt: skip


def profiler_step(number: int, ts: float, dur: float) -> EventDict:
    """A step of the torch profiler."""
    return event("user_annotation", f"ProfilerStep#{number}", ts, dur)


def write_trace(
    path: Path, events: Iterable[EventDict], *, indent: int | None = None, **fields: Any
) -> Path:
    """Writes an object with `traceEvents`; gzip if the name ends so."""
    text = json.dumps({"schemaVersion": 1, **fields, "traceEvents": list(events)}, indent=indent)
    return write_text(path, text)


def write_text(path: Path, text: str | bytes) -> Path:
    """Writes a text as it is; gzip if the name ends so."""
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def starved_steps(num_steps: int = 3) -> list[EventDict]:
    """Steps of 100 us: 60 us wait for data, a launch, a kernel of 30 us."""
    events: list[EventDict] = []
    for number in range(num_steps):
        at = 1000.0 + 100 * number
        events += [
            profiler_step(number + 1, at, 100),
            event("user_annotation", "enumerate(DataLoader)#_Iter.__next__", at, 60),
            event("cpu_op", "aten::mm", at + 62, 6, **{"External id": 10 + number}),
            *kernel(
                "ampere_sgemm", at + 64, at + 68, 30, 500 + number,
                **{"External id": 10 + number, "blocks per SM": 0.5},
            ),
        ]  # fmt: skip
    return events


def counts(events: Mapping[str, Any]) -> dict[str, int]:
    """How many events of each kind, without the empty kinds."""
    return {kind: len(rows) for kind, rows in events.items() if len(rows)}


def flat(trace: Trace) -> list[tuple[object, ...]]:
    """Every event with its name, whatever the order in the file."""
    return [
        (kind, trace.names[row["name"]], int(row["start_ns"]), int(row["end_ns"]))
        for kind in KINDS
        for row in trace.events[kind]
    ]
