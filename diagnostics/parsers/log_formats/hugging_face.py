"""Hugging Face Trainer (transformers 4.x: `trainer_callback.py`, `trainer_state.json`).

    {'loss': 0.5012, 'grad_norm': 1.23, 'learning_rate': 1e-05, 'epoch': 0.01}
      5%|4         | 500/10000 [01:23<25:00,  6.30it/s]
    {'train_runtime': 1234.5, 'train_samples_per_second': 12.3, 'train_steps_per_second': 0.77, ...}

The dictionaries name no step: they belong to the step of the progress bar before them, or their
epoch tells it (`log_bar_steps`). The bar's clock tells the time of a step. Newer versions quote the
numbers ('0.5012'). `trainer_state.json` names its steps (`log_history`) and states no time but the
whole run's.
"""

import re
from typing import Any

import msgspec
import numpy as np

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.line_shapes import Number, Reading
from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import LOG_LINE, PROGRESS, Field, fields_in
from diagnostics.parsers.log_formats.records import scanned_records
from diagnostics.parsers.scanned import SAID, Scanned, Statement

NAME = "Hugging Face Trainer"

_FIELD = re.compile(rb"'(\w{1,60})': '?([-+\d.eEnainf]{1,40})'?(?=[,}])")
_FIELDS = {
    b"loss": Field("loss", 1.0),
    b"grad_norm": Field("grad_norm", 1.0),
    b"learning_rate": Field("lr", 1.0),
    b"epoch": Field("epoch", 1.0),
}
_BAR = re.compile(
    rb"\| (\d{1,15})/(\d{1,15}) \[(?:(\d{1,6}):)?(\d{1,2}):(\d{2})<.{1,30}?(?:it/s|s/it)"
)
_COLUMNS = {"loss": "loss", "grad_norm": "grad_norm", "learning_rate": "lr", "step": "step"}


def read_line(line: bytes) -> Reading | Statement | None:
    """A dictionary of the training, or the last one with the run's time."""
    start = line.find(b"{'")
    if start < 0:
        return None
    if b"'train_runtime'" in line:
        return _read_end(line)
    numbers = tuple(fields_in(_FIELD, _FIELDS, line, start))
    if not any(each.name == "lr" for each in numbers):  # of an evaluation
        return Statement(kind=SAID) if b"'epoch'" in line else None
    return Reading(kind=LOG_LINE, family=NAME, numbers=numbers)


def _read_end(line: bytes) -> Statement:
    found = {name: float(value) for name, value in _numbers(line)}
    return Statement(kind="runtime", value=found)


def _numbers(line: bytes) -> list[tuple[str, str]]:
    pattern = r"'(train_\w{1,60})': '?(\d{1,15}(?:\.\d{1,15})?)'?(?=[,}])"
    return re.findall(pattern, line.decode("utf-8", "replace"))


def read_bar(line: bytes) -> Reading | None:
    """A progress bar; each redrawing is a line of its own."""
    found = _BAR.search(line)
    if found is None:
        return None
    names = ("step", "total_steps", "elapsed_h", "elapsed_m", "elapsed_s")
    numbers = tuple(
        Number(name, *found.span(group))
        for group, name in enumerate(names, start=1)
        if found[group] is not None
    )
    return Reading(kind=PROGRESS, family=NAME, numbers=numbers)


def read_state(content: bytes) -> Scanned | None:
    """`trainer_state.json`."""
    if b'"log_history"' not in content:
        return None
    try:
        state = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        return None
    logs = [each for each in history if isinstance(each, dict)]
    found = scanned_records(NAME, [_record(each) for each in logs if "learning_rate" in each])
    for each in logs:
        if isinstance(each.get("train_runtime"), int | float):
            values = {
                name: float(value)
                for name, value in each.items()
                if isinstance(value, int | float) and np.isfinite(float(value))
            }
            found.statements.append((0, Statement(kind="runtime", value=values)))
            found.num_recognised += 1
    return found


def _record(log: dict[str, Any]) -> dict[str, float]:
    return {
        column: float(log[name])
        for name, column in _COLUMNS.items()
        if isinstance(log.get(name), int | float) and abs(log[name]) < 1e18
    }


FAMILY = LogFamily(
    name=NAME,
    formats=(
        LineFormat(b"{'", read_line),
        LineFormat(b"it/s", read_bar),
        LineFormat(b"s/it", read_bar),
    ),
    because="the progress bar counts seconds",
    unit="s",
    read_file=read_state,
)
