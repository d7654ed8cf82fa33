"""What a snapshot of the allocator shows: who holds what, where the peak was, what is wasted."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from diagnostics.analyses.snapshot_places import UNKNOWN_PLACE, place_of, stage_of
from diagnostics.memory_snapshot import MemorySnapshot

TOP = 20
MAX_REFUSALS = 100
"""Of one device, the first; a loop that catches each of them can run out of memory for ever."""
IN_USE = ("active_allocated", "active_awaiting_free", "active_pending_free")


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Blocks of one place, or of one stage, together."""

    name: str
    size_bytes: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Waste:
    """Memory that no tensor has. Sizes in bytes.

    `free_bytes` is reserved and unused: `returnable_bytes` of it lies in segments without any
    tensor, which the allocator gives back before it fails; `stuck_bytes` lies between tensors.
    `largest_bytes` is the largest piece that can be given out at once. `rounding_bytes` is what
    blocks are larger than what was asked for.
    """

    free_bytes: int
    returnable_bytes: int
    stuck_bytes: int
    largest_bytes: int
    rounding_bytes: int
    num_segments: int
    num_pieces: int


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Memory that ran out while the history was kept."""

    requested_bytes: int
    free_bytes: float | None
    at_unix_s: float | None
    place: str


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The moment at which most was held, within the history that was kept.

    `before_bytes` was held since before the history began.
    """

    size_bytes: int
    at_unix_s: float | None
    before_bytes: int
    stages: tuple[Holder, ...]
    places: tuple[Holder, ...]


@dataclass(frozen=True, kw_only=True)
class DeviceSnapshot:
    """One device of a snapshot; `peak` is None without a history."""

    device: int
    reserved_bytes: int
    held_bytes: int
    waste: Waste
    stages: tuple[Holder, ...]
    places: tuple[Holder, ...]
    peak: Peak | None
    refusals: tuple[Refusal, ...]
    num_entries: int


def analyse_snapshot(snapshot: MemorySnapshot) -> tuple[DeviceSnapshot, ...]:
    """Every device that holds a segment or has a history."""
    return tuple(_device(part, device) for device, part in by_device(snapshot).items())


def by_device(snapshot: MemorySnapshot) -> Mapping[int, MemorySnapshot]:
    """The snapshot of each device that holds a segment or has a history, in their order."""
    segments, blocks, history = (
        {int(str(device)): rows for device, rows in table.groupby("device")}
        for table in (snapshot.segments, snapshot.blocks, snapshot.history)
    )
    return {
        device: replace(
            snapshot,
            segments=segments.get(device, snapshot.segments[:0]),
            blocks=blocks.get(device, snapshot.blocks[:0]),
            history=history.get(device, snapshot.history[:0]),
        )
        for device in sorted({*segments, *history})
    }


def _device(snapshot: MemorySnapshot, device: int) -> DeviceSnapshot:
    segments, blocks, history = snapshot.segments, snapshot.blocks, snapshot.history
    used = blocks[blocks["state"].isin(IN_USE)]
    labels = _labels_by_address(history)
    held = [
        (int(size), int(stack), labels.get(address, ""))
        for size, stack, address in zip(
            used["size_bytes"], used["stack"], used["address"], strict=True
        )
    ]
    return DeviceSnapshot(
        device=device,
        reserved_bytes=int(segments["total_bytes"].sum()),
        held_bytes=int(used["size_bytes"].sum()),
        waste=_waste(segments, blocks, used),
        stages=holders_by_stage(snapshot, held),
        places=holders_by_place(snapshot, held),
        peak=_peak(snapshot, history, int(used["size_bytes"].sum())),
        refusals=tuple(_refusals(snapshot, history)),
        num_entries=len(history),
    )


def _labels_by_address(history: pd.DataFrame) -> Mapping[float, str]:
    """The label of the last allocation at an address."""
    given = history[(history["action"] == "alloc") & (history["label"] != "")]
    return dict(zip(given["address"], given["label"].astype(str), strict=True))


def _waste(segments: pd.DataFrame, blocks: pd.DataFrame, used: pd.DataFrame) -> Waste:
    free = blocks[~blocks.index.isin(used.index)]
    empty = segments.index[segments["active_bytes"] == 0]
    returnable = free[free["segment"].isin(empty)]
    rounding = (used["size_bytes"] - used["requested_bytes"]).clip(lower=0)
    free_bytes = int(free["size_bytes"].sum())
    returnable_bytes = int(returnable["size_bytes"].sum())
    return Waste(
        free_bytes=free_bytes,
        returnable_bytes=returnable_bytes,
        stuck_bytes=free_bytes - returnable_bytes,
        largest_bytes=int(free["size_bytes"].max()) if len(free) else 0,
        rounding_bytes=int(rounding.sum()),
        num_segments=len(segments),
        num_pieces=len(free),
    )


def holders_by_stage(
    snapshot: MemorySnapshot, held: Iterable[tuple[int, int, str]]
) -> tuple[Holder, ...]:
    """Sizes by stage, largest first; without a stage anywhere, nothing."""
    known: dict[tuple[int, str], str] = {}
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for size, stack, label in held:
        key = stack, label
        if key not in known:
            frames = snapshot.stacks[stack] if stack >= 0 else ()
            known[key] = stage_of(frames, label) or ""
        total = sums[known[key]]
        total[0] += size
        total[1] += 1
    if not any(sums):
        return ()
    return _ordered({name or "outside the stages": total for name, total in sums.items()})


def holders_by_place(
    snapshot: MemorySnapshot, held: Iterable[tuple[int, int, str]]
) -> tuple[Holder, ...]:
    """Sizes by the line that asked for them, largest first."""
    by_stack: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for size, stack, _ in held:
        total = by_stack[stack]
        total[0] += size
        total[1] += 1
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for stack, (size, count) in by_stack.items():
        total = sums[place_of(snapshot.stacks[stack]) if stack >= 0 else UNKNOWN_PLACE]
        total[0] += size
        total[1] += count
    return _ordered(sums)


def _ordered(sums: Mapping[str, Sequence[int]]) -> tuple[Holder, ...]:
    found = [Holder(name=name, size_bytes=size, count=n) for name, (size, n) in sums.items()]
    return tuple(sorted(found, key=lambda each: (-each.size_bytes, each.name))[:TOP])


def _peak(snapshot: MemorySnapshot, history: pd.DataFrame, now_bytes: int) -> Peak | None:
    """What was held at each moment follows from what is held now, backwards."""
    moves = history[history["action"].isin(("alloc", "free_completed"))]
    if not len(moves):
        return None
    is_alloc = (moves["action"] == "alloc").to_numpy()
    sizes = np.where(is_alloc, 1, -1) * moves["size_bytes"].to_numpy(dtype="int64")
    start_bytes = now_bytes - int(sizes.sum())
    levels = start_bytes + np.cumsum(sizes)
    top = int(levels.argmax()) if start_bytes <= levels.max() else -1
    until = moves.iloc[: top + 1]
    live = live_allocations(until)
    held = [(size, stack, label) for size, stack, label, _ in live]
    at = until["at_unix_s"].iloc[-1] if len(until) else float("nan")
    size_bytes = int(levels[top]) if top >= 0 else start_bytes
    return Peak(
        size_bytes=size_bytes,
        at_unix_s=None if np.isnan(at) else float(at),
        before_bytes=max(0, size_bytes - sum(size for size, _, _ in held)),
        stages=holders_by_stage(snapshot, held),
        places=holders_by_place(snapshot, held),
    )


def live_allocations(moves: pd.DataFrame) -> list[tuple[int, int, str, int]]:
    """Size, stack, label and row of what was allocated in these rows and not freed in them."""
    live: dict[float, tuple[int, int, str, int]] = {}
    columns = (moves[name] for name in ("action", "address", "size_bytes", "stack", "label"))
    for row, (action, address, size, stack, label) in enumerate(zip(*columns, strict=True)):
        if action == "alloc":
            live[address] = (int(size), int(stack), str(label), row)
        elif action == "free_completed":
            live.pop(address, None)
    return list(live.values())


def _refusals(snapshot: MemorySnapshot, history: pd.DataFrame) -> Iterable[Refusal]:
    for _, row in history[history["action"] == "oom"][:MAX_REFUSALS].iterrows():
        stack = int(row["stack"])
        yield Refusal(
            requested_bytes=int(row["size_bytes"]),
            free_bytes=None if pd.isna(row["free_bytes"]) else float(row["free_bytes"]),
            at_unix_s=None if pd.isna(row["at_unix_s"]) else float(row["at_unix_s"]),
            place=place_of(snapshot.stacks[stack]) if stack >= 0 else UNKNOWN_PLACE,
        )
