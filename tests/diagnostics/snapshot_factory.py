"""A caching allocator in small, which writes snapshots in the format of PyTorch's.

Keys and their meaning are those of torch/cuda/memory.py (PyTorch 2.13); torch's own reader of
snapshots, torch/cuda/_memory_viz.py, is held against what it makes. Requests are rounded to 512
bytes and taken from the smallest free block of segments of 2 or 20 MiB, which are split.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20
SMALL, LARGE = 2 * MIB, 20 * MIB
START_US = 1_767_323_045_000_000


def frames(*places: tuple[str, int, str]) -> list[dict[str, Any]]:
    """A stack, the innermost first."""
    return [{"filename": file, "line": line, "name": name} for file, line, name in places]


@dataclass
class Block:
    address: int
    size: int
    requested: int = 0
    frames: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_free(self) -> bool:
        return not self.requested


class Allocator:
    """Give, take, run out, and say so."""

    def __init__(self, keeps_history: bool = True) -> None:
        self.segments: list[list[Block]] = []
        self.trace: list[dict[str, Any]] = []
        self.keeps_history = keeps_history
        self.label = ""
        self.now_us = START_US
        self.levels: list[int] = [0]
        self._next = 0x7F00_0000_0000

    def alloc(self, requested: int, stack: list[dict[str, Any]] | None = None) -> int:
        size = -(-requested // 512) * 512
        free = [b for segment in self.segments for b in segment if b.is_free and b.size >= size]
        block = min(free, key=lambda each: (each.size, each.address), default=None)
        block = block or self._new_segment(size)
        rest = Block(block.address + size, block.size - size)
        if rest.size:
            segment = next(each for each in self.segments if block in each)
            segment.insert(segment.index(block) + 1, rest)
        block.size, block.requested, block.frames = size, requested, stack or []
        self._note("alloc", block.address, size, block.frames)
        self.levels.append(self.levels[-1] + size)
        return block.address

    def free(self, address: int) -> None:
        segment, block = next(
            (segment, block)
            for segment in self.segments
            for block in segment
            if block.address == address
        )
        self._note("free_requested", address, block.size, [])
        self._note("free_completed", address, block.size, [])
        self.levels.append(self.levels[-1] - block.size)
        block.requested, block.frames = 0, []
        self._merge(segment)

    def run_out(self, size: int, free: int, stack: list[dict[str, Any]]) -> None:
        self._note("oom", None, size, stack, device_free=free)

    def forget(self) -> None:
        """What came before is no longer in the history."""
        self.trace.clear()
        self.levels = [self.levels[-1]]

    def snapshot(self) -> dict[str, Any]:
        return {
            "segments": [self._segment(blocks) for blocks in self.segments],
            "device_traces": [list(self.trace)],
            "allocator_settings": {"expandable_segments": False, "max_split_size": -1},
            "external_annotations": [],
        }

    def _new_segment(self, size: int) -> Block:
        whole = SMALL if size <= MIB else max(LARGE, -(-size // SMALL) * SMALL)
        block = Block(self._next, whole)
        self._note("segment_alloc", self._next, whole, [])
        self.segments.append([block])
        self._next += 2 * whole
        return block

    def _merge(self, segment: list[Block]) -> None:
        for first, second in itertools.pairwise(segment):
            if first.is_free and second.is_free:
                first.size += second.size
                segment.remove(second)
                self._merge(segment)
                return

    def _note(
        self, action: str, address: int | None, size: int, stack: list[Any], **more: Any
    ) -> None:
        self.now_us += 10
        if not self.keeps_history:
            return
        entry = {"action": action, "size": size, "stream": 0, "time_us": self.now_us, **more}
        entry |= {} if address is None else {"addr": address}
        entry |= {"compile_context": "N/A", "user_metadata": self.label, "pool_id": (0, 0)}
        self.trace.append({**entry, "frames": stack})

    def _segment(self, blocks: list[Block]) -> dict[str, Any]:
        held = sum(block.size for block in blocks if not block.is_free)
        total = sum(block.size for block in blocks)
        return {
            "device": 0,
            "address": blocks[0].address,
            "total_size": total,
            "allocated_size": held,
            "active_size": held,
            "requested_size": sum(block.requested for block in blocks),
            "stream": 0,
            "segment_type": "small" if total <= SMALL else "large",
            "segment_pool_id": (0, 0),
            "is_expandable": False,
            "frames": [],
            "blocks": [
                {
                    "address": block.address,
                    "size": block.size,
                    "requested_size": block.requested,
                    "state": "inactive" if block.is_free else "active_allocated",
                    "frames": block.frames,
                }
                for block in blocks
            ],
        }
