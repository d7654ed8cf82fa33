"""How full each device was while a trace was recorded."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from diagnostics.trace import RecordedMemory, Trace

CPU_TYPE = 0
"""PyTorch's number of the CPU among its types of devices."""
MAX_TOTAL_BYTES = 1 << 50
"""A device with more than 1 PiB is none."""
_MAX_NAME = 100


@dataclass(frozen=True, kw_only=True)
class MemoryPoint:
    """Most bytes within an interval that begins at `at_ns` since the trace's first event."""

    at_ns: int
    allocated_bytes: int | None
    reserved_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class TraceMemory:
    """One device's memory while the trace was recorded; None is unknown.

    `peak_allocated_bytes` is the most that tensors held, `peak_reserved_bytes` the most that the
    allocator had of the driver. `course` has the intervals of `interval_ns` in which memory was
    allocated or freed.
    """

    is_device: bool
    device_id: int
    name: str | None
    num_events: int
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None
    total_bytes: int | None
    interval_ns: int
    course: tuple[MemoryPoint, ...]

    @property
    def peak_bytes(self) -> int | None:
        """The larger of both: some allocators reserve nothing."""
        known = (self.peak_allocated_bytes, self.peak_reserved_bytes)
        return max((value for value in known if value is not None), default=None)

    @property
    def share(self) -> float | None:
        """Of what the device has; None where it is more, because one of the two is wrong."""
        peak, total = self.peak_bytes, self.total_bytes
        if peak is None or total is None or self.is_contradictory:
            return None
        return peak / total

    @property
    def is_contradictory(self) -> bool:
        """More was held than the device has."""
        peak, total = self.peak_bytes, self.total_bytes
        return peak is not None and total is not None and peak > total


def find_memory(trace: Trace) -> tuple[TraceMemory, ...]:
    """Each device whose memory the trace tells: the CPU's among them, as no device."""
    return tuple(_of(each, trace.devices) for each in trace.memory)


def fullest_device(found: Iterable[TraceMemory]) -> TraceMemory | None:
    """The device with the largest known share, else the one that held most; never the CPU."""
    devices = [each for each in found if each.is_device]
    return max(devices, key=_fullness, default=None)


def _fullness(found: TraceMemory) -> tuple[float, int]:
    share, peak = found.share, found.peak_bytes
    return -1.0 if share is None else share, -1 if peak is None else peak


def _of(memory: RecordedMemory, properties: tuple[Mapping[str, Any], ...]) -> TraceMemory:
    is_device = memory.device_type != CPU_TYPE
    own = next((e for e in properties if _is(e, memory.device_id)), {}) if is_device else {}
    name = own.get("name")
    return TraceMemory(
        is_device=is_device,
        device_id=memory.device_id,
        name=name[:_MAX_NAME] if isinstance(name, str) and name else None,
        num_events=memory.num_events,
        peak_allocated_bytes=memory.peak_allocated_bytes,
        peak_reserved_bytes=memory.peak_reserved_bytes,
        total_bytes=_total(own.get("totalGlobalMem")),
        interval_ns=memory.interval_ns,
        course=tuple(_points(memory)),
    )


def _points(memory: RecordedMemory) -> Iterator[MemoryPoint]:
    for at_ns, allocated, reserved in memory.course.tolist():
        yield MemoryPoint(
            at_ns=at_ns, allocated_bytes=_whole(allocated), reserved_bytes=_whole(reserved)
        )


def _is(properties: Mapping[str, Any], device_id: int) -> bool:
    number = properties.get("id")
    return isinstance(number, int) and not isinstance(number, bool) and number == device_id


def _total(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 < value < MAX_TOTAL_BYTES else None


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)
