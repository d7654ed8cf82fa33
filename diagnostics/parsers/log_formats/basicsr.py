"""BasicSR (1.4, `basicsr/utils/logger.py`) and KAIR (`main_train_*.py`), where VRT comes from.

    2021-05-11 12:00:00,000 INFO: [train..][epoch:  0, iter:     1,000, lr:(2.000e-04,)]
      [eta: 1 day, 3:04:05, time (data): 0.123 (0.004)] l_pix: 1.2345e-02
    22-01-01 12:34:56.789 : <epoch:  1, iter:     200, lr:2.000e-04> G_loss: 1.234e-02
    <epoch:  1, iter:     100, lr:4.000e-04> eta: 00:12:34 G_loss: 1.234e-02 batch_wait: 0.0012s
      data_load: 0.0100s forward: 0.8000s backward: 1.2000s

BasicSR's times are means of the iterations since the line before; the data time in brackets spans
the fetch. KAIR itself states no time: its lines' own time stamps tell. The third form is that of a
trainer built on KAIR, which times parts of a step by the host's clock.
"""

import re

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.line_shapes import Number, Reading, is_number
from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import LOG_LINE, PHASE, Field, fields_in

NAME = "BasicSR/KAIR"

_HEAD = re.compile(rb"[\[<]epoch: *\d{1,9}, iter: *([\d,]{1,20}), lr:\(?([-+\d.eE]{1,30})[,)]?")
_TIMES = re.compile(rb"time \(data\): ([\d.]{1,20}) \(([\d.]{1,20})\)")
_FIELD = re.compile(rb"(?<![\w.])([\w/]{1,60}): ([-+\w.]{1,40})(?![\w.:])")
_LOSSES = {name: Field("loss", 1.0) for name in (b"l_total", b"l_pix", b"G_loss")}
_PARTS = {
    **{name.encode(): Field(PHASE + name) for name in ("forward", "backward")},
    b"batch_wait": Field("data_time_ms"),
    b"loss_compute": Field(PHASE + "loss"),
    b"optimizer_step": Field(PHASE + "optimizer"),
    b"total": Field("step_time_ms"),
    b"iter": Field("step_time_ms"),
}


def read_line(line: bytes) -> Reading | None:
    """A line of the training."""
    head = _HEAD.search(line)
    if head is None or not is_number(head[1]):
        return None
    numbers = {each.name: each for each in fields_in(_FIELD, _LOSSES | _PARTS, line, head.end())}
    numbers["step"] = Number("step", *head.span(1))
    if is_number(head[2]):
        numbers["lr"] = Number("lr", *head.span(2))
    times = _TIMES.search(line, head.end())
    if times is not None and is_number(times[1]) and is_number(times[2]):
        numbers["step_time_ms"] = Number("step_time_ms", *times.span(1), 1000.0)
        numbers["data_time_ms"] = Number("data_time_ms", *times.span(2), 1000.0)
    return Reading(kind=LOG_LINE, family=NAME, numbers=tuple(numbers.values()))


FAMILY = LogFamily(
    name=NAME,
    formats=(LineFormat(b"[epoch:", read_line), LineFormat(b"<epoch:", read_line)),
    unit="s",
    because="BasicSR writes seconds for each iteration",
    has_fetch=True,
)
