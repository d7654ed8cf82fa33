"""The figures in the message of an allocation that failed: PyTorch 1.0 to 2.x, CUDA, HIP and CPU.

    CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 1.96 GiB total capacity; 1.24 GiB
    already allocated; 2.88 MiB free; 1.25 GiB reserved in total by PyTorch)

    CUDA out of memory. Tried to allocate 1.70 GiB. GPU 0 has a total capacity of 6.00 GiB of which
    0 bytes is free. Process 12 has 3.00 GiB memory in use. Including non-PyTorch memory, this
    process has 3.00 GiB memory in use. Of the allocated memory 2.93 GiB is allocated by PyTorch,
    and 2.30 GiB is reserved by PyTorch but unallocated. ...

Each figure is looked for by its own words, so that a message that lacks one keeps the others.
"""

import re
from typing import Any, Literal

from diagnostics.memory_tables import ALLOCATION_FAILURES

MAX_TEXT = 500
_MAX_MESSAGE = 8192
_MAX_OTHERS = 64
_UNITS = {
    "bytes": 1,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "KB": 1 << 10,
    "MB": 1 << 20,
    "GB": 1 << 30,
}
_SIZE = r"(\d{1,15}(?:\.\d{1,6})?) ?(bytes|B|[KMGT]iB|[KMG]B)"
_PATTERNS = {
    "requested_bytes": (
        re.compile(rf"[Tt]ried to allocate {_SIZE}"),
        re.compile(rf"Trying to allocate {_SIZE}"),
    ),
    "total_bytes": (
        re.compile(rf"total capaci?ty of {_SIZE}"),
        re.compile(rf"{_SIZE} total capacity"),
        re.compile(rf"max allowed: {_SIZE}"),
    ),
    "free_bytes": (re.compile(rf"of which {_SIZE} is free"), re.compile(rf"[;(] {_SIZE} free[;)]")),
    "allowed_bytes": (re.compile(rf"{_SIZE} allowed;"),),
    "process_bytes": (re.compile(rf"this process has {_SIZE} memory in use"),),
    "allocated_bytes": (
        re.compile(rf"Of the allocated memory {_SIZE} is allocated"),
        re.compile(rf"{_SIZE} already allocated"),
        re.compile(rf"MPS allocated: {_SIZE}"),
    ),
    "private_bytes": (re.compile(rf"with {_SIZE} allocated in private pools"),),
    "unallocated_bytes": (re.compile(rf"{_SIZE} is reserved by PyTorch but unallocated"),),
    "_reserved_bytes": (re.compile(rf"{_SIZE} (?:reserved in total|cached\))"),),
}
_OTHER = re.compile(rf"Process (\d{{1,10}}) has {_SIZE} memory in use")
_DEVICE = re.compile(r"\b(?:GPU|NPU|XPU) (\d{1,4})(?:;| has)")
_ON_HOST = re.compile(
    r"DefaultCPUAllocator|C10 Out of Memory|host memory ran out|Cannot allocate memory"
)
_ON_DEVICE = re.compile(r"\b(?:CUDA|HIP|MPS|XPU|NPU|GPU|cuda|device)\b|OutOfMemoryError")

Memory = Literal["device", "host"]


def read_figures(text: str) -> dict[str, Any]:
    """The figures of a message, in the names of the table's columns; those it lacks are None."""
    text = text[:_MAX_MESSAGE]
    found = {name: _first(text, name) for name in _PATTERNS}
    reserved, allocated = found.pop("_reserved_bytes"), found["allocated_bytes"]
    if found["unallocated_bytes"] is None and reserved is not None and allocated is not None:
        found["unallocated_bytes"] = max(0.0, reserved - allocated)
    others = [(int(pid), _bytes(size, unit)) for pid, size, unit in _OTHER.findall(text)]
    device = _DEVICE.search(text)
    known: dict[str, Any] = dict(found)
    known["memory"] = memory_of(text)
    known["device_index"] = int(device[1]) if device else None
    known["other_bytes"] = sum(size for _, size in others[:_MAX_OTHERS]) if others else None
    known["largest_other_pid"] = max(others, key=lambda each: each[1])[0] if others else None
    return known


def memory_of(text: str) -> Memory:
    """Whose memory a message is about, by its words."""
    if _ON_HOST.search(text):
        return "host"
    return "device" if _ON_DEVICE.search(text) else "host"


def failure_row(text: str, **known: Any) -> tuple[Any, ...]:
    """A row of the table; what is known besides the message goes before what it says."""
    figures = read_figures(text)
    told = {name: value for name, value in known.items() if value is not None}
    row = {"rank": 0, **figures, **told, "text": text[:MAX_TEXT]}
    return tuple(row.get(name) for name in ALLOCATION_FAILURES.column_names)


def _first(text: str, name: str) -> float | None:
    for pattern in _PATTERNS[name]:
        if found := pattern.search(text):
            return _bytes(found[1], found[2])
    return None


def _bytes(size: str, unit: str) -> float:
    return float(size) * _UNITS[unit]
