"""A stand-in for PyTorch's caching allocator of a GPU: the same sizes of segments, no memory.

Blocks are rounded to 512 bytes. Those up to 1 MiB come from segments of 2 MiB, those below 10 MiB
from segments of 20 MiB, larger ones from a segment of their own in whole 2 MiB. The smallest free
block that fits is taken and split; neighbours that are free become one again; segments are given
back by `empty_cache` alone. `stats` and `reset` are what `CudaStepMemory` asks for.
"""

from dataclasses import dataclass
from typing import Any

MIB = 1 << 20
_ROUNDED_BYTES = 512
_SMALL_BYTES, _LARGE_BYTES = MIB, 10 * MIB
_SMALL_SEGMENT, _LARGE_SEGMENT, _WHOLE = 2 * MIB, 20 * MIB, 2 * MIB


@dataclass(eq=False)
class Block:
    """A part of a segment, between its neighbours."""

    size: int
    is_small: bool
    before: "Block | None" = None
    after: "Block | None" = None


class CachingAllocator:
    """Gives out and takes back blocks; counts as PyTorch does."""

    def __init__(self) -> None:
        self._free: set[Block] = set()
        self.allocated = self.peak = self.reserved = self.reserved_peak = 0

    def allocate(self, size: int) -> Block:
        """A block of at least so many bytes."""
        size = _up(max(1, size), _ROUNDED_BYTES)
        is_small = size <= _SMALL_BYTES
        fitting = (b for b in self._free if b.is_small == is_small and b.size >= size)
        block = min(fitting, key=lambda each: each.size, default=None)
        if block is None:
            block = Block(_segment(size), is_small)
            self.reserved += block.size
            self.reserved_peak = max(self.reserved_peak, self.reserved)
        self._free.discard(block)
        if block.size - size >= (_ROUNDED_BYTES if is_small else _SMALL_BYTES + 1):
            self._split(block, size)
        self.allocated += block.size
        self.peak = max(self.peak, self.allocated)
        return block

    def free(self, block: Block) -> None:
        """Takes a block back, to be given out again."""
        self.allocated -= block.size
        if block.before in self._free:
            block = self._joined(block.before, block)
        if block.after in self._free:
            block = self._joined(block, block.after)
        self._free.add(block)

    def use(self, size: int) -> None:
        """A block for a moment."""
        self.free(self.allocate(size))

    def empty_cache(self) -> None:
        """Gives back the segments that are free as a whole."""
        whole = {each for each in self._free if not (each.before or each.after)}
        self.reserved -= sum(each.size for each in whole)
        self._free -= whole

    def stats(self, device: Any = None) -> dict[str, Any]:
        """The counters, as `torch.cuda.memory.memory_stats_as_nested_dict` nests them."""
        split = sum(each.size for each in self._free if each.before or each.after)
        return {
            "allocated_bytes": {"all": {"current": self.allocated, "peak": self.peak}},
            "reserved_bytes": {"all": {"current": self.reserved, "peak": self.reserved_peak}},
            "inactive_split_bytes": {"all": {"current": split}},
            "num_alloc_retries": 0,
        }

    def reset(self, device: Any = None) -> None:
        """Starts new peaks."""
        self.peak, self.reserved_peak = self.allocated, self.reserved

    def _split(self, block: Block, size: int) -> None:
        rest = Block(block.size - size, block.is_small, block, block.after)
        if block.after is not None:
            block.after.before = rest
        block.size, block.after = size, rest
        self._free.add(rest)

    def _joined(self, block: Block, after: Block) -> Block:
        self._free -= {block, after}
        block.size, block.after = block.size + after.size, after.after
        if block.after is not None:
            block.after.before = block
        return block


def _segment(size: int) -> int:
    if size <= _SMALL_BYTES:
        return _SMALL_SEGMENT
    return _LARGE_SEGMENT if size < _LARGE_BYTES else _up(size, _WHOLE)


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
