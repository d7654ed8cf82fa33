"""Megatron-LM (core 0.4 to 0.12: `megatron/training/training.py`, `megatron/core/timers.py`).

     [2024-01-01 00:00:00] iteration      100/  500000 | consumed samples:       25600 |
      elapsed time per iteration (ms): 1234.5 | learning rate: 1.500E-04 | global batch size: 256 |
      lm loss: 6.500000E+00 | loss scale: 1.0 | grad norm: 1.234 | ...
    (min, max) time across ranks (ms):
        forward-backward ...............................: (1200.00, 1210.00)
        batch-generator ................................: (1.10, 2.20)
    time (ms) | forward-compute: 400.00 | backward-compute: 800.00 | optimizer: 20.00

The timers wait for the GPU before they look at the clock, so they count as device time. Of a time
across ranks the largest counts: the others wait for that rank. The batch generator runs inside the
forward, from which it is taken.
"""

import re

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.line_shapes import Number, Reading, is_number
from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import (
    LOG_LINE,
    PHASE,
    PHASES_PART,
    TIMERS,
    WAIT_INSIDE,
    Field,
    field_number,
    fields_in,
    timers_in,
)
from diagnostics.parsers.scanned import SAID, Statement

NAME = "Megatron-LM"

_HEAD = re.compile(rb"(?<!\w)iteration +(\d{1,15})(?:/ *(\d{1,15}))? \|")
_FIELD = re.compile(rb"\| *([\w ()/]{1,60}?):? +([-+\d.eEnainf]{1,30})(?= *\|)")
_FIELDS = {
    b"elapsed time per iteration (ms)": Field("step_time_ms", 1.0),
    b"learning rate": Field("lr", 1.0),
    b"lm loss": Field("loss", 1.0),
    b"grad norm": Field("grad_norm", 1.0),
    b"global batch size": Field("samples_per_step", 1.0),
    b"samples per second": Field("samples_per_s", 1.0),
}
_RATE = re.compile(rb"samples/sec: ([\d.]{1,20}) \|")
_TIMER = re.compile(rb"^\s*([\w/-]{1,80}) \.{2,}: \(?([\d.]{1,20})(?:, ([\d.]{1,20})\))?\s*$")
PHASES = {
    b"forward-compute": Field(PHASE + "forward", 1.0),
    b"backward-compute": Field(PHASE + "backward", 1.0),
    b"forward-backward": Field(PHASE + "forward+backward", 1.0),
    b"batch-generator": Field(PHASE + WAIT_INSIDE, 1.0),
    b"optimizer": Field(PHASE + "optimizer", 1.0),
    b"forward": Field(PHASE + "forward", 1.0),
    b"backward": Field(PHASE + "backward", 1.0),
}


def read_line(line: bytes) -> Reading | None:
    """The line of an iteration."""
    head = _HEAD.search(line)
    if head is None:
        return None
    numbers = [*fields_in(_FIELD, _FIELDS, line, head.end() - 1)]
    rate = _RATE.search(line, 0, head.start())
    if rate is not None and is_number(rate[1]):
        numbers.append(Number("samples_per_s", *rate.span(1)))
    if not numbers:
        return None
    numbers.append(Number("step", *head.span(1)))
    if head[2]:
        numbers.append(Number("total_steps", *head.span(2)))
    return Reading(kind=LOG_LINE, family=NAME, numbers=tuple(numbers))


def read_timer(line: bytes) -> Reading | Statement | None:
    """One timer on a line of its own: the only value, or the larger of two."""
    found = _TIMER.match(line)
    if found is None:
        return None
    span = found.span(3) if found[3] else found.span(2)
    number = field_number(PHASES, found[1], line, *span)
    if number is None:
        return Statement(kind=SAID)
    return Reading(kind=PHASES_PART, family=NAME, numbers=(number,), fixed=(found.span(1),))


def read_old_timers(line: bytes) -> Reading | None:
    """All timers on one line, as versions up to 2022 wrote them."""
    return timers_in(line, NAME, PHASES)


FAMILY = LogFamily(
    name=NAME,
    formats=(
        LineFormat(b"elapsed time per iteration (ms)", read_line),
        LineFormat(b" ..", read_timer),
        LineFormat(TIMERS, read_old_timers),
    ),
    clock="device",
    clock_because="its timers wait for the GPU before they look at the clock",
    has_fetch=True,
)
