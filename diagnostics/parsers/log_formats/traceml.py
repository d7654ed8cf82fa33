"""TraceML's `final_summary.json` (schema 1.5, TraceML 0.3 to 0.5: its section of step times).

    {"step_time": {"global": {"average": {"step_time_ms": 200.4, "input_wait_ms": 90.1,
      "h2d_ms": 1.2, "forward_ms": 30.0, "backward_ms": 60.0, "optimizer_ms": 8.0, ...},
      "window": {"start_step": 10, "end_step": 110, "steps_analyzed": 100,
      "diagnosis_clock": "gpu"}}, ...}, ...}

And torchtitan's metrics as JSON lines, whose keys say their units:

    {"step": 10, "time_metrics/end_to_end(s)": 0.5, "time_metrics/data_loading(s)": 0.01}

The summary is one mean over its window, so it becomes one row. Its parts sum to its step, so the
wait for input is what nothing hides.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import LOG_LINE, PHASE
from diagnostics.parsers.log_formats.records import scanned_records
from diagnostics.parsers.scanned import Columns, Key, Scanned

NAME = "TraceML"
TITAN = "torchtitan metrics"

_TIMES = {
    "step_time_ms": "step_time_ms",
    "input_wait_ms": PHASE + "data_wait",
    "h2d_ms": PHASE + "h2d",
    "forward_ms": PHASE + "forward",
    "backward_ms": PHASE + "backward",
    "optimizer_ms": PHASE + "optimizer",
    "residual_ms": PHASE + "other",
}
_METRICS = {
    "step": ("step", 1.0),
    "time_metrics/end_to_end(s)": ("step_time_ms", 1000.0),
    "time_metrics/data_loading(s)": ("data_time_ms", 1000.0),
    "loss_metrics/global_avg_loss": ("loss", 1.0),
    "grad_norm": ("grad_norm", 1.0),
    "throughput(tps)": ("tokens_per_s", 1.0),
    "memory/max_reserved(GiB)": ("gpu_memory_bytes", 2.0**30),
    "lr": ("lr", 1.0),
}


def read_summary(content: bytes) -> Scanned | None:
    """The summary of a run."""
    if b'"global"' not in content or b"step_time_ms" not in content:
        return None
    try:
        whole = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for section in _sections(whole):
        average, window = section.get("average"), section.get("window")
        if isinstance(average, Mapping) and isinstance(average.get("step_time_ms"), int | float):
            return _one_row(average, window if isinstance(window, Mapping) else {})
    return None


def _sections(whole: Any) -> Iterator[Mapping[str, Any]]:
    """Every `global` of the file or of a section in it."""
    if not isinstance(whole, Mapping):
        return
    for holder in (whole, *whole.values()):
        if isinstance(holder, Mapping) and isinstance(holder.get("global"), Mapping):
            yield holder["global"]
        elif isinstance(holder, Mapping):
            for inner in holder.values():
                if isinstance(inner, Mapping) and isinstance(inner.get("global"), Mapping):
                    yield inner["global"]


def _one_row(average: Mapping[str, Any], window: Mapping[str, Any]) -> Scanned:
    times = {
        column: float(average[name])
        for name, column in _TIMES.items()
        if isinstance(average.get(name), int | float) and abs(average[name]) < 1e12
    }
    end, count = (_whole(window.get(name)) for name in ("end_step", "steps_analyzed"))
    row = {"step": float(end or count or 1), "num_steps": float(count or 1), **times}
    clock = "device" if window.get("diagnosis_clock") == "gpu" else "host"
    key = Key(NAME, LOG_LINE, (("clock", clock),), tuple(row))
    columns = Columns()
    columns.add(np.array([1], dtype="int64"), np.array([[*row.values()]]))
    return Scanned(columns={key: columns}, num_recognised=1)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 < value < 10**15 else None


def read_metrics(content: bytes) -> Scanned | None:
    """JSON lines of torchtitan's metrics."""
    if b'"time_metrics/end_to_end(s)"' not in content:
        return None
    records = []
    for line in content.splitlines():
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(record, dict):
            records.append(
                {
                    column: float(record[name]) * factor
                    for name, (column, factor) in _METRICS.items()
                    if isinstance(record.get(name), int | float) and abs(record[name]) < 1e15
                }
            )
    return scanned_records(TITAN, records)


FAMILY = LogFamily(name=NAME, has_fetch=True, read_file=read_summary)
TITAN_METRICS = LogFamily(
    name=TITAN,
    has_fetch=True,
    unit="s",
    because="the metrics' names say it",
    read_file=read_metrics,
)
