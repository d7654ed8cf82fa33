"""Single lines of a text log: each function turns the text of one into a row, or None.

The formats are those of `docs/records.md` and of the original VRT-Spike trainer. MB and GB in them
are 1024-based. A number that is not finite counts as missing.
"""

import math
import re
from typing import Any

MAX_TEXT = 500
"""Characters of a line that an event keeps."""

MAX_MS = 1e12
"""A longer time (32 years) is damage."""

_STEP = re.compile(r"(?<![\w@.])step (\d{1,15})(?:/(\d{1,15}))? \| (.*)")
_FIELD = re.compile(r"(?<!\S)(?:(\w{1,40}+)=(\S{1,40})|([\d.]{1,20}+) samples/s)(?!\S)")
_AFTER_STEP = re.compile(r"\] step (\d{1,15})(?: ?[|:] ?| )(.*)", re.IGNORECASE)
_PROGRESS = re.compile(r"\] (\d{1,15})/(\d{1,15}) .{0,60}elapsed=([\d:]+)(?: \| eta=([\d:]+))?")
_END = re.compile(r"\[end\] (\w+)(?: \| steps=(\d{1,15}))?(?: \| elapsed=([\d:]+))?")
_RUN = re.compile(r"\[run\] id=(\S{1,200})(.*)")
_MEMORY = re.compile(
    r"\[([^\]]{1,80})\] Memory - Process: ([\d.]+)MB \(([\d.]+)%\), "
    r"System: ([\d.]+)/([\d.]+)GB \(([\d.]+)%\)"
    r"(?:, GPU: ([\d.]+)MB allocated, ([\d.]+)MB reserved)?"
)
_STEP_LABEL = re.compile(r"Step (\d{1,15})$")
_SIZE = {"MB": 1024.0**2, "GB": 1024.0**3}

_HITS = re.compile(r"(\d{1,15}) hits / (\d{1,15}) misses")
_HITS_OF = re.compile(r"hits=(\d{1,15})/(\d{1,15})")
_ITEMS = re.compile(r"(\d{1,15}) items")
_USED_OF = re.compile(r"(?<![\d.])([\d.]{1,20})(?:GB)? ?/ ?([\d.]{1,20}) ?(MB|GB)")

_FIELD_COLUMNS = {
    "loss": "loss",
    "charb": "charb",
    "vgg": "vgg",
    "lr": "lr",
    "data_time": "data_time_ms",
    "step_time": "step_time_ms",
}
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


def parse_step(text: str) -> Record | None:
    """A step line as a record of the table `log_steps` (without the rank)."""
    head = _STEP.search(text)
    if head is None:
        return None
    record: Record = {}
    for key, value, samples_per_s in _FIELD.findall(head[3]):
        column = _FIELD_COLUMNS.get(key)
        if column is not None:
            record[column] = number(value.removesuffix("ms"))
        elif samples_per_s:
            record["samples_per_s"] = number(samples_per_s)
        elif key.endswith("_mem"):
            record["gpu_memory_bytes"] = _size(value[:-2], value[-2:])
    if not record:
        return None
    return record | {"step": int(head[1]), "total_steps": number(head[2] or "")}


def parse_memory(text: str) -> Record | None:
    """A memory line as a record of the table `memory_lines`."""
    found = _MEMORY.search(text)
    if found is None:
        return None
    step = _STEP_LABEL.match(found[1])
    return {
        "label": found[1],
        "step": float(step[1]) if step else None,
        "process_rss_bytes": _size(found[2], "MB"),
        "process_percent": number(found[3]),
        "system_used_bytes": _size(found[4], "GB"),
        "system_total_bytes": _size(found[5], "GB"),
        "system_percent": number(found[6]),
        "gpu_allocated_bytes": _size(found[7], "MB"),
        "gpu_reserved_bytes": _size(found[8], "MB"),
    }


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


def parse_progress(text: str) -> Record | None:
    """A `[progress]` line as a record of the table `progress`."""
    found = _PROGRESS.search(text)
    if found is None:
        return None
    return {
        "step": int(found[1]),
        "total_steps": float(found[2]),
        "elapsed_s": seconds(found[3]),
        "eta_s": seconds(found[4]),
    }


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


def parse_percent(text: str) -> float | None:
    """The first number in front of a percent sign."""
    found = re.search(r"([\d.]{1,20})%", text)
    return number(found[1]) if found else None


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
