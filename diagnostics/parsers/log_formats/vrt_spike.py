"""The lines of VRT-Spike's own trainer, most of which the original trainer wrote as well.

The formats are those of `docs/records.md`. MB and GB in them are 1024-based.
"""

import re
from collections.abc import Callable
from typing import Any

from diagnostics.parsers import log_lines
from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.line_shapes import Number, Reading, is_number
from diagnostics.parsers.log_formats.fields import (
    GIB,
    LOG_LINE,
    MEMORY,
    MIB,
    PROGRESS,
    STAGES,
    Field,
    fields_in,
)
from diagnostics.parsers.scanned import Statement

FAMILY = "vrt-spike"

_STEP = re.compile(rb"(?<![\w@.])step (\d{1,15})(?:/(\d{1,15}))? \| (.*)")
_FIELD = re.compile(rb"(?<!\S)(\w{1,40}+)=(\S{1,40})(?!\S)")
_RATE = re.compile(rb"(?<!\S)([\d.]{1,20}+) samples/s(?!\S)")
_GPU_MEMORY = re.compile(rb"(?<!\S)GPU\d{1,6}_mem=([\d.]{1,20})(MB|GB)(?!\S)")
_FIELDS = {
    **{name.encode(): Field(name) for name in ("loss", "charb", "vgg", "lr", "grad_norm")},
    b"data_time": Field("data_time_ms"),
    b"step_time": Field("step_time_ms"),
}

_STAGES = re.compile(
    rb"(?<![\w.])stages(?:\.(backward|recompute))? (\d{1,15})(?:/\d{1,15})? \|"
    rb" clock=(device|host) \| (.*)"
)
_TIME = re.compile(rb"(?<!\S)([^\s=]{1,200}+)=(\d{1,12}(?:\.\d{1,9})?)ms(?!\S)")
_PROGRESS = re.compile(
    rb"\] (\d{1,15})/(\d{1,15}) .{0,80}?elapsed=(\d{1,11}):(\d{1,2}):(\d{1,2})"
    rb"(?: \| eta=(\d{1,11}):(\d{1,2}):(\d{1,2}))?"
)
_MEMORY = re.compile(
    rb"\[([^\]]{1,80})\] Memory - Process: ([\d.]+)MB \(([\d.]+)%\), "
    rb"System: ([\d.]+)/([\d.]+)GB \(([\d.]+)%\)"
    rb"(?:, GPU: ([\d.]+)MB allocated, ([\d.]+)MB reserved)?"
)
_MEMORY_NUMBERS = (
    ("process_rss_bytes", MIB),
    ("process_percent", 1.0),
    ("system_used_bytes", GIB),
    ("system_total_bytes", GIB),
    ("system_percent", 1.0),
    ("gpu_allocated_bytes", MIB),
    ("gpu_reserved_bytes", MIB),
)
_STEP_LABEL = re.compile(rb"Step (\d{1,15})")


def read_step(line: bytes) -> Reading | None:
    """`step 950/8880 | loss=0.0234 ... | 2.1 samples/s | data_time=4.2ms step_time=476.1ms`."""
    head = _STEP.search(line)
    if head is None:
        return None
    numbers = [*fields_in(_FIELD, _FIELDS, line, head.start(3))]
    rate = _RATE.search(line, head.start(3))
    if rate is not None and is_number(rate[1]):
        numbers.append(Number("samples_per_s", *rate.span(1)))
    memory = _GPU_MEMORY.search(line, head.start(3))
    if memory is not None and is_number(memory[1]):
        size = MIB if memory[2] == b"MB" else GIB
        numbers.append(Number("gpu_memory_bytes", *memory.span(1), size))
    if not numbers:
        return None
    numbers.append(Number("step", *head.span(1)))
    if head[2]:
        numbers.append(Number("total_steps", *head.span(2)))
    return Reading(kind=LOG_LINE, family=FAMILY, numbers=tuple(numbers))


def read_stages(line: bytes) -> Reading | None:
    """`stages 950/8880 | clock=device | forward=151.3ms ... | flow=9.1ms ...`."""
    head = _STAGES.search(line)
    if head is None:
        return None
    direction = (head[1] or b"forward").decode()
    bar = line.find(b" | ", head.start(4)) if direction == "forward" else head.start(4)
    bar = len(line) if bar < 0 else bar
    numbers: dict[str, Number] = {}
    fixed = [head.span(3)]
    for time in _TIME.finditer(line, head.start(4)):
        kind = "phase" if time.start() < bar else direction
        name = f"{kind}:{time[1].decode('utf-8', 'replace')}"
        numbers[name] = Number(name, *time.span(2))
        fixed.append(time.span(1))
    if direction == "forward" and not any(name.startswith("phase:") for name in numbers):
        return None
    return Reading(
        kind=STAGES,
        family=FAMILY,
        numbers=(Number("step", *head.span(2)), *numbers.values()),
        words=(("clock", head[3].decode()),),
        fixed=tuple(fixed),
    )


def read_progress(line: bytes) -> Reading | None:
    """`[progress] 940/8880 [##..]  10.6% | elapsed=9:23:04 | eta=79:12:11`."""
    found = _PROGRESS.search(line)
    if found is None:
        return None
    names = (
        "step",
        "total_steps",
        "elapsed_h",
        "elapsed_m",
        "elapsed_s",
        "eta_h",
        "eta_m",
        "eta_s",
    )
    stated = [place for place in range(len(names)) if found[place + 1] is not None]
    numbers = tuple(Number(names[place], *found.span(place + 1)) for place in stated)
    return Reading(kind=PROGRESS, family=FAMILY, numbers=numbers)


def read_memory(line: bytes) -> Reading | None:
    """`[Step 100] Memory - Process: 15678.9MB (6.1%), System: 125.4/256.0GB (49.0%)`."""
    found = _MEMORY.search(line)
    if found is None:
        return None
    numbers = [
        Number(name, *found.span(group), factor)
        for group, (name, factor) in enumerate(_MEMORY_NUMBERS, start=2)
        if found[group] is not None and is_number(found[group])
    ]
    step = _STEP_LABEL.fullmatch(line, *found.span(1))
    if step is not None:
        numbers.append(Number("step", *step.span(1)))
        return Reading(kind=MEMORY, family=FAMILY, numbers=tuple(numbers))
    return Reading(
        kind=MEMORY,
        family=FAMILY,
        numbers=tuple(numbers),
        words=(("label", found[1].decode("utf-8", "replace")),),
        fixed=(found.span(1),),
    )


def stating(kind: str, parse: Callable[[str], Any]) -> Callable[[bytes], Statement | None]:
    """A reader of lines that stand there once: what `parse` makes of the text, if anything."""

    def read(line: bytes) -> Statement | None:
        value = parse(line.decode("utf-8", "replace"))
        return None if value is None else Statement(kind=kind, value=value)

    return read


FORMATS = (
    LineFormat(b"stages ", read_stages),
    LineFormat(b"stages.", read_stages),
    LineFormat(b"[progress] ", read_progress),
    LineFormat(b"[tags] step ", stating("tags", log_lines.parse_at_step)),
    LineFormat(b"[val] step ", stating("validation", log_lines.parse_validation)),
    LineFormat(b"[checkpoint] step ", stating("checkpoint", log_lines.parse_at_step)),
    LineFormat(b"] Memory - Process: ", read_memory),
    LineFormat(b"step ", read_step),
    LineFormat(b"Checkpoint saved", stating("checkpoint", log_lines.parse_at_step)),
    LineFormat(b"[run] id=", stating("run", log_lines.parse_run)),
    LineFormat(b"[epoch] ", stating("epoch", log_lines.parse_epoch)),
    LineFormat(b"[numerics] step ", stating("numerics", log_lines.parse_at_step)),
    LineFormat(b": NaN/Inf detected", stating("numerics", log_lines.parse_at_step)),
    LineFormat(b"Avg data time: ", stating("avg_data_time", log_lines.parse_avg_data_time)),
    LineFormat(b"critically high", stating("memory_warning", log_lines.parse_warning)),
    LineFormat(b"[Memory Ceiling]", stating("memory_warning", log_lines.parse_warning)),
    LineFormat(b"[Memory Warning]", stating("memory_warning", log_lines.parse_warning)),
    LineFormat(b"[error] ", stating("run_failed", log_lines.parse_error)),
    LineFormat(b"ut of memory", stating("oom", log_lines.parse_out_of_memory)),
    LineFormat(b"DefaultCPUAllocator", stating("oom", log_lines.parse_out_of_memory)),
    LineFormat(b'File "', stating("frame", log_lines.parse_frame)),
    LineFormat(b"OutOfMemoryError", stating("oom", log_lines.parse_out_of_memory)),
    LineFormat(
        b"a data loading process died: ", stating("loading_process_died", log_lines.parse_death)
    ),
    LineFormat(  # PyTorch's own words, in the log of whatever program
        b"is killed by signal: ", stating("loading_process_died", log_lines.parse_death)
    ),
    LineFormat(b"Cache Stats:", stating("cache_begins", log_lines.clipped)),
    LineFormat(b"Cache ", stating("cache", log_lines.parse_cache)),
    LineFormat(b"  - ", stating("cache_item", log_lines.parse_cache)),
    LineFormat(b"[end] ", stating("end", log_lines.parse_end)),
    LineFormat(b"[resources] no NVIDIA GPU", stating("no_gpu", log_lines.parse_no_gpu)),
)
