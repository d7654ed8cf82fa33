"""DeepSpeed (0.6 to 0.16: `deepspeed/utils/timer.py`, `deepspeed/runtime/engine.py`).

    [2023-11-07 01:55:23,711] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=4,
      lr=[4.99e-05, 4.99e-05], mom=[(0.9, 0.95)]
    [2023-11-07 01:55:23,714] [INFO] [timer.py:260:stop] epoch=0/micro_step=40/global_step=10,
      RunningAvgSamplesPerSec=25.03, CurrSamplesPerSec=25.70, MemAllocated=4.32GB, ...
    [...] [Rank 0] time (ms) | fwd: 259.10 | bwd: 798.38 | bwd_inner: 700.10 | bwd_allreduce: 98.20
      | step: 46.07

`fwd`, `bwd` and `step` are sums over the micro-batches of a step, by CUDA events or with a wait for
the GPU; `step` in them is the optimizer's. The lines of single micro-batches are passed over. The
time of the whole step is not stated: the time stamps of the step lines tell it.
"""

import re

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.line_shapes import Number, Reading, is_number
from diagnostics.parsers.log_formats.family import LogFamily
from diagnostics.parsers.log_formats.fields import (
    GIB,
    LOG_LINE,
    PHASE,
    TIMERS,
    Field,
    timers_in,
)
from diagnostics.parsers.scanned import SAID, Statement

NAME = "DeepSpeed"

_STEP = re.compile(rb"(?<![\w])step=(\d{1,15}), skipped=\d{1,15}, lr=\[([-+\d.eE]{1,30})")
_SPEED = re.compile(
    rb"(?:global_step=|stop\] \d{1,9}/)(\d{1,15}), RunningAvgSamplesPerSec=[\d.eE+-]{1,30}, "
    rb"CurrSamplesPerSec=([\d.eE+-]{1,30})(?:, MemAllocated=[\d.]{1,20}GB, "
    rb"MaxMemAllocated=([\d.]{1,20})GB)?"
)
_PHASES = {
    b"fwd": Field(PHASE + "forward", 1.0),
    b"bwd": Field(PHASE + "backward", 1.0),
    b"step": Field(PHASE + "optimizer", 1.0),
    b"forward": Field(PHASE + "forward", 1.0),
    b"backward": Field(PHASE + "backward", 1.0),
}


def read_step(line: bytes) -> Reading | None:
    """The line of an optimizer step."""
    found = _STEP.search(line)
    if found is None or not is_number(found[2]):
        return None
    numbers = (Number("step", *found.span(1)), Number("lr", *found.span(2)))
    return Reading(kind=LOG_LINE, family=NAME, numbers=numbers)


def read_speed(line: bytes) -> Reading | None:
    """The line of its throughput timer."""
    found = _SPEED.search(line)
    if found is None or not is_number(found[2]):
        return None
    numbers = [Number("step", *found.span(1)), Number("samples_per_s", *found.span(2))]
    if found[3] and is_number(found[3]):
        numbers.append(Number("gpu_memory_bytes", *found.span(3), GIB))
    return Reading(kind=LOG_LINE, family=NAME, numbers=tuple(numbers))


def read_times(line: bytes) -> Reading | Statement | None:
    """The line of its wall clock breakdown; those of single micro-batches say nothing."""
    is_of_part = TIMERS in line and (b"_microstep" in line or b"optimizer_" in line)
    return timers_in(line, NAME, _PHASES) or (Statement(kind=SAID) if is_of_part else None)


FAMILY = LogFamily(
    name=NAME,
    formats=(
        LineFormat(b", skipped=", read_step),
        LineFormat(b"RunningAvgSamplesPerSec=", read_speed),
        LineFormat(TIMERS, read_times),
    ),
    clock="device",
    clock_because="its timers take CUDA events, or wait for the GPU",
)
