"""A snapshot of PyTorch's allocator as the tools see it: segments, blocks, history, stacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from diagnostics.table_type import Column, Table, numbers

SEGMENTS = Table(
    "segments",
    "One row for each piece of memory that the allocator took from a device.",
    (
        Column("device", "int", "-", "Number of the device."),
        *numbers("-", address="Where it begins."),
        Column("total_bytes", "int", "bytes", "Its size."),
        Column("active_bytes", "int", "bytes", "Held by tensors, or still awaited by a stream."),
        *numbers("-", stream="Stream that it belongs to."),
        Column("kind", "category", "-", "small or large."),
        Column("is_expandable", "bool", "-", "Whether it can grow and shrink."),
    ),
)

BLOCKS = Table(
    "blocks",
    "One row for each block of a segment, used or free.",
    (
        Column("device", "int", "-", "Number of the device."),
        Column("segment", "int", "-", "Row of its segment."),
        *numbers("-", address="Where it begins; missing in old snapshots."),
        Column("size_bytes", "int", "bytes", "Its size."),
        Column("requested_bytes", "int", "bytes", "What was asked for; less by rounding."),
        Column("state", "category", "-", "active_allocated, active_awaiting_free, inactive."),
        Column("stack", "int", "-", "Which of the stacks allocated it; -1 unknown."),
    ),
)

HISTORY = Table(
    "history",
    "One row for each thing that the allocator did while its history was kept.",
    (
        Column("device", "int", "-", "Number of the device."),
        Column("action", "category", "-", "alloc, free_completed, segment_alloc, oom, ..."),
        *numbers("-", address="Where; missing where memory ran out."),
        Column("size_bytes", "int", "bytes", "How much."),
        *numbers("bytes", free_bytes="Free on the device, where memory ran out."),
        *numbers("s", at_unix_s="When, in seconds since the epoch; missing in old snapshots."),
        Column("stack", "int", "-", "Which of the stacks did it; -1 unknown."),
        Column("label", "category", "-", "What the program said it was doing; empty if nothing."),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A place in the program."""

    file: str
    line: int
    function: str


@dataclass(frozen=True, kw_only=True, eq=False)
class MemorySnapshot:
    """One file. `stacks` hold frames, the innermost first; tables name them by number.

    `notes` say what was left out.
    """

    path: Path
    segments: pd.DataFrame
    blocks: pd.DataFrame
    history: pd.DataFrame
    stacks: tuple[tuple[Frame, ...], ...] = ()
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
