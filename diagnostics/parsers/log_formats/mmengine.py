"""MMEngine (0.10, `mmengine/runner/log_processor.py`) and MMCV before it (1.x, its text logger).

    2022/08/22 15:51:56 - mmengine - INFO - Epoch(train) [1][10/1563]  lr: 1.0000e-03  eta: 0:18:23
      time: 0.1414  data_time: 0.0077  memory: 392  loss: 5.3465
    ... - mmengine - INFO - Iter(train) [  100/80000]  base_lr: 1.0e-04 lr: 1.0e-04  eta: ...
    ... - mmcv - INFO - Epoch [1][50/1000]  lr: 1.000e-02, eta: 0:10:00, time: 0.512, data_time: 0.1

`time` is the mean of the last iterations, `data_time` in it is the wait for the loader, both by the
host's clock; memory is in MiB. Lines of validation and test are passed over.
"""

import re

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.line_shapes import Number, Reading
from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import LOG_LINE, MIB, Field, fields_in
from diagnostics.parsers.scanned import SAID, Statement

NAME = "MMEngine"

_HEAD = re.compile(
    rb"(Epoch|Iter)(?:\((train|val|test)\))? +"
    rb"(?:\[ *(\d{1,9})\])?\[ *(\d{1,15})/ *(\d{1,15})\]"
)
_FIELD = re.compile(rb"([\w/]{1,60}): ([-+\w.]{1,40})(?![\w.:])")
_FIELDS = {
    b"time": Field("step_time_ms", 1000.0),
    b"data_time": Field("data_time_ms", 1000.0),
    b"memory": Field("gpu_memory_bytes", MIB),
    b"loss": Field("loss", 1.0),
    b"lr": Field("lr", 1.0),
    b"grad_norm": Field("grad_norm", 1.0),
}


def read_line(line: bytes) -> Reading | Statement | None:
    """A line of the training; an epoch's iterations go on from those of the epochs before."""
    head = _HEAD.search(line)
    if head is None:
        return None
    if head[2] not in (None, b"train"):
        return Statement(kind=SAID)
    numbers = [*fields_in(_FIELD, _FIELDS, line, head.end())]
    if not numbers:
        return None
    if head[3] is not None:
        numbers += [Number("epoch", *head.span(3)), Number("in_epoch", *head.span(4))]
        numbers.append(Number("epoch_steps", *head.span(5)))
    else:
        numbers += [Number("step", *head.span(4)), Number("total_steps", *head.span(5))]
    return Reading(kind=LOG_LINE, family=NAME, numbers=tuple(numbers))


FAMILY = LogFamily(
    name=NAME,
    formats=(
        LineFormat(b"Epoch(", read_line),
        LineFormat(b"Iter(", read_line),
        LineFormat(b"Epoch [", read_line),
        LineFormat(b"Iter [", read_line),
    ),
    unit="s",
    because="MMEngine writes seconds for each iteration",
    has_fetch=True,
)
