"""Decodes pieces of a trace into typed events, which live for one piece only."""

import math
import re

import msgspec

from diagnostics.parsers.trace_blocks import split_exactly

Number = int | float | str | None
"""Numbers that some writers put between quotes."""


class Args(msgspec.Struct, gc=False):
    """The arguments of an event that are used; writers spell some of them in two ways."""

    op_id: Number = msgspec.field(name="External id", default=None)
    launch_op_id: Number = msgspec.field(name="external id", default=None)
    correlation: Number = None
    stream: Number = None
    device: Number = None
    num_bytes: Number = msgspec.field(name="bytes", default=None)
    blocks_per_sm: Number = msgspec.field(name="blocks per SM", default=None)
    occupancy_percent: Number = msgspec.field(name="est. achieved occupancy %", default=None)
    sequence: Number = msgspec.field(name="Sequence number", default=None)
    collective: str | None = msgspec.field(name="Collective name", default=None)
    dtype: Number = None
    num_in: Number = msgspec.field(name="In msg nelems", default=None)
    num_out: Number = msgspec.field(name="Out msg nelems", default=None)
    group_size: Number = msgspec.field(name="Group size", default=None)
    group: Number = msgspec.field(name="Process Group Name", default=None)
    seq: Number = msgspec.field(name="Seq", default=None)
    waits_for: Number = msgspec.field(name="wait_on_cuda_event_record_corr_id", default=None)
    waits_for_stream: Number = msgspec.field(name="wait_on_stream", default=None)
    device_type: Number = msgspec.field(name="Device Type", default=None)
    device_id: Number = msgspec.field(name="Device Id", default=None)
    total_allocated: Number = msgspec.field(name="Total Allocated", default=None)
    total_reserved: Number = msgspec.field(name="Total Reserved", default=None)


class Event(msgspec.Struct, gc=False):
    """One entry of `traceEvents`."""

    ph: str = ""
    cat: str | None = None
    name: str | int | float | None = None
    ts: Number = None
    dur: Number = None
    pid: Number = None
    tid: Number = None
    args: Args | None = None


_ARRAY = msgspec.json.Decoder(list[Event])
_ONE = msgspec.json.Decoder(Event)
_STRING_OR_NAN = re.compile(
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[-+]?\b(?:nan|inf|infinity)\b',
    re.IGNORECASE | re.DOTALL,
)


def decode(listed: bytes | memoryview) -> tuple[list[Event], int]:
    """The events of a piece, in order, and how many could not be read.

    Args:
        listed: A JSON list of whole events; damaged or not.
    """
    try:
        return _ARRAY.decode(listed), 0
    except _NOT_READ:
        pass
    try:
        return _ARRAY.decode(_repaired(bytes(listed))), 0
    except _NOT_READ:
        return _decode_singly(bytes(listed[1:-1]))


def _decode_singly(text: bytes) -> tuple[list[Event], int]:
    events: list[Event] = []
    bad = 0
    for one in split_exactly(text):
        event = _decode_one(one)
        if event is None:
            bad += 1
        else:
            events.append(event)
    return events, bad


def _decode_one(text: bytes) -> Event | None:
    try:
        return _ONE.decode(_repaired(text))
    except _NOT_READ:
        return None


_NOT_READ = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _repaired(text: bytes) -> bytes:
    """Bytes that are no text become the replacement character, numbers that JSON has not null.

    Kineto has written both: names of kernels cut within a character, and a bandwidth of `inf`.
    """
    return _STRING_OR_NAN.sub(_null_unless_text, text.decode("utf-8", "replace").encode())


def _null_unless_text(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else b"null"


_INT64 = 1 << 63


def to_number(value: Number) -> float:
    """The number, NaN where there is none."""
    if value.__class__ is float:
        return value
    if value.__class__ is int and -_INT64 <= value < _INT64:
        return value  # as it is: a float loses the nanoseconds since the epoch
    try:
        return math.nan if value is None else float(value)
    except (ValueError, OverflowError):
        return math.nan
