"""Single lines of a text log: each function turns the text of one into a row, or None.

The formats are those of `docs/records.md` and of the original VRT-Spike trainer. MB and GB in them
are 1024-based. A number that is not finite counts as missing.
"""

import math
import re
from typing import Any

MAX_TEXT = 500
"""Characters of a line that an event keeps."""

MAX_FAILURE = 4000
"""Characters of a failed allocation's message: it lists every process on the GPU."""

MAX_MS = 1e12
"""A longer time (32 years) is damage."""

_AFTER_STEP = re.compile(r"\] step (\d{1,15})(?: ?[|:] ?| )(.*)", re.IGNORECASE)
_END = re.compile(r"\[end\] (\w+)(?: \| steps=(\d{1,15}))?(?: \| elapsed=([\d:]+))?")
_RUN = re.compile(r"\[run\] id=(\S{1,200})(.*)")
_SIZE = {"MB": 1024.0**2, "GB": 1024.0**3}

_HITS = re.compile(r"(\d{1,15}) hits / (\d{1,15}) misses")
_HITS_OF = re.compile(r"hits=(\d{1,15})/(\d{1,15})")
_ITEMS = re.compile(r"(\d{1,15}) items")
_USED_OF = re.compile(r"(?<![\d.])([\d.]{1,20})(?:GB)? ?/ ?([\d.]{1,20}) ?(MB|GB)")

_QUALITY_COLUMNS = {
    "PSNR_RGB": "psnr_rgb_db",
    "PSNR_Y": "psnr_y_db",
    "SSIM_Y": "ssim_y",
    "input PSNR_RGB": "input_psnr_rgb_db",
}

Record = dict[str, Any]


def number(text: str) -> float | None:
    """The finite number that the text is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_validation(text: str) -> Record | None:
    """A `[val]` line as a record of the table `validations`."""
    head = _AFTER_STEP.search(text)
    if head is None:
        return None
    record: Record = {}
    for group in head[2].split(" | "):
        prefix = "input " if group.startswith("input ") else ""
        for token in group.removeprefix("input ").split():
            key, _, value = token.partition("=")
            column = _QUALITY_COLUMNS.get(prefix + key)
            if column is not None:
                record[column] = number(value)
    return record | {"step": int(head[1])} if record else None


def parse_at_step(text: str) -> tuple[int, str] | None:
    """Step and text of a line such as `[checkpoint] step 1000 | ...`."""
    found = _AFTER_STEP.search(text)
    return (int(found[1]), found[2].strip()[:MAX_TEXT]) if found else None


def parse_end(text: str) -> tuple[str, int | None, float | None] | None:
    """Status, steps and elapsed seconds of the `[end]` line."""
    found = _END.search(text)
    if found is None:
        return None
    return found[1], int(found[2]) if found[2] else None, seconds(found[3])


def parse_run(text: str) -> dict[str, str] | None:
    """The fields of the first line: id, and schema, facts, clock where they stand."""
    found = _RUN.search(text)
    if found is None:
        return None
    fields = {"id": found[1]}
    # The folder may contain blanks: a value ends where the next key begins.
    for key, value in re.findall(
        r"(schema|facts|clock)=(.*?)(?= (?:schema|facts|clock)=|$)", found[2]
    ):
        fields.setdefault(key, value.strip())
    return fields


def parse_epoch(text: str) -> Record | None:
    """The values of an `[epoch]` line: loss, lr, time_s, samples_per_s, steps."""
    values: Record = {}
    for key, value in re.findall(r"(\w{1,40})=([^\s,()|]{1,40})", text):
        name = {"time": "time_s", "throughput": "samples_per_s"}.get(key, key)
        parsed = number(value.removesuffix("s"))
        if parsed is not None:
            values[name] = parsed
    return values or None


def parse_cache(text: str) -> Record | None:
    """Whatever a line tells about the cache, as part of a record of the table `cache_stats`."""
    record: Record = {}
    if hits := _HITS.search(text):
        record |= {"hits": float(hits[1]), "misses": float(hits[2])}
    elif hits_of := _HITS_OF.search(text):
        looked_up = float(hits_of[2])
        record |= {"hits": float(hits_of[1]), "misses": max(0.0, looked_up - float(hits_of[1]))}
    if items := _ITEMS.search(text):
        record["num_items"] = float(items[1])
    if used := _USED_OF.search(text):
        record["used_bytes"] = _size(used[1], used[3])
        record["limit_bytes"] = _size(used[2], used[3])
    return record or None


def parse_avg_data_time(text: str) -> Record | None:
    """The values of an `Avg data time: 4.2ms` line."""
    ms = number(text.partition("Avg data time: ")[2].strip().removesuffix("ms"))
    return None if ms is None else {"ms": ms}


def parse_warning(text: str) -> Record:
    """The values of a warning about memory; its percentage where it states one."""
    found = re.search(r"([\d.]{1,20})%", text)
    return {"percent": number(found[1]) if found else None, "text": clipped(text)}


def parse_error(text: str) -> Record | None:
    """The reason that the run ended with."""
    reason = text.partition("[error] ")[2].strip()[:MAX_FAILURE]
    return {"reason": reason} if reason else None


def parse_death(text: str) -> Record:
    """How a loading process ended."""
    found = re.search(r"killed by signal: ([\w ]{1,40})", text)
    return {"signal": found[1].strip() if found else None, "reason": clipped(text)}


def parse_no_gpu(text: str) -> str:
    """Why no GPU could be sampled."""
    found = re.search(r"no NVIDIA GPU \((.*)\)", text)
    return clipped(found[1]) if found else "no NVIDIA GPU"


_RAN_OUT = re.compile(
    r"(?:^|[:\]>.!]|\b(?:CUDA|HIP|MPS|XPU|Error|ERROR|error|GPU|device|host|system|cgroup|ran|run|went))"
    r"[ \t]*(?:[Oo]ut of memory|OUT OF MEMORY)|OutOfMemoryError"
    r"|DefaultCPUAllocator: (?:can't allocate|not enough) memory"
)
"""Where memory ran out the words stand by themselves, or behind what ran out; prose that only
speaks of it ("a run that runs out of memory") is none."""


def parse_out_of_memory(text: str) -> str | None:
    """A line that says that memory has run out, as much of it as its figures may take."""
    return text[:MAX_FAILURE] if _RAN_OUT.search(text) else None


_FRAME = re.compile(r'^ *File "([^"]{1,500})", line (\d{1,9}), in (.{1,200})$')


def parse_frame(text: str) -> str | None:
    """A line of a traceback, as `file.py:12 function`."""
    found = _FRAME.search(text)
    return None if found is None else f"{found[1]}:{found[2]} {found[3].strip()}"


def clipped(text: str) -> str:
    """As much of the text as an event keeps."""
    return text[:MAX_TEXT]


def seconds(clock: str | None) -> float | None:
    """Seconds of `H:MM:SS`; hours may be any number."""
    parts = (clock or "").split(":")
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 12 for part in parts):
        return None
    hours, minutes, rest = (int(part) for part in parts)
    return float(hours * 3600 + minutes * 60 + rest)


def _size(amount: str | None, unit: str) -> float | None:
    value = number(amount or "")
    return None if value is None or unit not in _SIZE else value * _SIZE[unit]
