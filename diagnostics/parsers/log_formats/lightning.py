"""PyTorch Lightning's CSVLogger (2.x, `lightning/fabric/loggers/csv_logs.py`): `metrics.csv`.

    epoch,lr-AdamW,step,train_loss
    0,,49,2.3025

One row for each call of `log`, empty where a metric was not logged; `step` counts from 0. Its
ThroughputMonitor adds `train|time` (seconds so far) and `train|device/samples_per_sec`; columns
that a program names `data_time`, `batch_time` or the like are in seconds or, with `_ms`, in ms.
"""

import csv
import io
import math
from collections.abc import Iterator

from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import PROGRESS
from diagnostics.parsers.log_formats.records import scanned_records
from diagnostics.parsers.scanned import Scanned

NAME = "Lightning CSV"

_NAMES = {
    "step": ("step", 1.0),
    "train_loss": ("loss", 1.0),
    "train_loss_step": ("loss", 1.0),
    "loss": ("loss", 1.0),
    "train/loss": ("loss", 1.0),
    "grad_norm": ("grad_norm", 1.0),
    "grad_2.0_norm_total": ("grad_norm", 1.0),
    "data_time": ("data_time_ms", 1000.0),
    "data_time_ms": ("data_time_ms", 1.0),
    "batch_time": ("step_time_ms", 1000.0),
    "step_time": ("step_time_ms", 1000.0),
    "batch_time_ms": ("step_time_ms", 1.0),
    "step_time_ms": ("step_time_ms", 1.0),
    "train|device/samples_per_sec": ("samples_per_s", 1.0),
    "train|samples_per_sec": ("samples_per_s", 1.0),
}
_ELAPSED = "train|time"


def read_metrics(content: bytes) -> Scanned | None:
    """`metrics.csv`, known by its header."""
    head = content[: content.find(b"\n") + 1].decode("utf-8", "replace")
    names = [name.strip() for name in head.strip().split(",")]
    if "step" not in names or len(names) < 2 or not {"epoch", _ELAPSED} & {*names}:
        return None
    rows = list(_rows(content, names))
    found = scanned_records(NAME, [wanted for wanted, _ in rows])
    clocks = [{"step": w["step"], "elapsed_s": e} for w, e in rows if e is not None and "step" in w]
    timed = scanned_records(NAME, clocks, PROGRESS)
    found.columns.update(timed.columns)
    return found


def _rows(content: bytes, names: list[str]) -> Iterator[tuple[dict[str, float], float | None]]:
    """Of each row what is wanted, the step counted from 1; and its clock."""
    columns = {
        name: ("lr", 1.0) if name.startswith("lr-") else _NAMES.get(name, ("", 0.0))
        for name in names
    }
    text = io.StringIO(content.decode("utf-8", "replace").replace("\0", ""))
    try:
        for row in csv.DictReader(text, names):
            stated = {name: _number(row.get(name)) for name in names}
            wanted = {
                column: value * factor
                for name, (column, factor) in columns.items()
                if column and (value := stated[name]) is not None
            }
            if "step" in wanted:
                wanted["step"] += 1
            yield wanted, stated.get(_ELAPSED)
    except csv.Error:  # a field longer than the module reads: what came before stands
        return


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e18 else None


FAMILY = LogFamily(
    name=NAME,
    unit="s",
    because="Lightning counts seconds; a name with _ms says otherwise",
    read_file=read_metrics,
)
