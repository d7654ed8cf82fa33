"""In which order an epoch's samples come, and what a cache makes of that order; no PyTorch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vrtspike.data.settings import SampleOrder

Order = NDArray[np.int64]
_RNG_GROUPS = 1
"""The second stream of random numbers, so that both orders draw from streams of their own."""


def shuffled_order(length: int, *, seed: int, epoch: int) -> Order:
    """Every sample once, each order as likely as any other."""
    return np.random.default_rng([seed, epoch]).permutation(length)


def grouped_order(clips: Sequence[int], *, group: int, seed: int, epoch: int) -> Order:
    """Every sample once; neighbours of a clip come close together, groups in random order.

    Samples that share frames are then loaded while these are still in the cache. Groups are cut at
    another place in each epoch, so that no two samples are neighbours for ever, and are shuffled
    inside, too. What it costs: the samples of a batch, and of batches in a row, resemble each other
    more than in a shuffled order.

    Args:
        clips: The clip of each sample; the samples of a clip stand together, in order of time.
        group: Samples in a group, at least 1.
        seed: Of the run.
        epoch: Of the run.
    """
    rng = np.random.default_rng([seed, epoch, _RNG_GROUPS])
    of_clip = np.asarray(clips, np.int64)
    length = len(of_clip)
    place = np.arange(length)
    begins = np.flatnonzero(np.diff(of_clip, prepend=-1) != 0)
    since = place - np.repeat(begins, np.diff(begins, append=length))
    shift = rng.integers(0, group, len(begins))[np.searchsorted(begins, place, "right") - 1]
    number = (since + shift) // group
    starts = np.flatnonzero((np.diff(of_clip, prepend=-1) != 0) | (np.diff(number, prepend=0) != 0))
    cut = np.split(place, starts[1:]) if length else []
    return np.concatenate([rng.permutation(cut[n]) for n in rng.permutation(len(cut))])


@dataclass(frozen=True, kw_only=True)
class OrderPlan:
    """How a data set is gone through: the clip and the first frame of each sample."""

    clips: tuple[int, ...]
    first_frames: tuple[int, ...]
    clip_len: int
    order: SampleOrder
    group: int

    def epoch(self, seed: int, epoch: int) -> Order:
        """The samples of an epoch in order."""
        if self.order == "grouped":
            return grouped_order(self.clips, group=self.group, seed=seed, epoch=epoch)
        return shuffled_order(len(self.clips), seed=seed, epoch=epoch)


def reuse_bytes(lookups: Iterable[int], sizes: Sequence[int]) -> NDArray[np.float64]:
    """Bytes of everything that was used since an entry's last use, itself included.

    A least recently used cache of that many bytes still has the entry: so the share of look-ups
    with at most that many is its hit rate, for every size at once (Mattson and others, Evaluation
    techniques for storage hierarchies, IBM Systems Journal 9, 1970). Entries of several sizes make
    it an approximation, off by one entry.

    Args:
        lookups: Numbers of the entries in the order in which they are asked for.
        sizes: Bytes of each entry.

    Returns:
        (look-ups,) bytes; infinity for the first use of an entry.
    """
    asked = np.fromiter(lookups, np.int64)
    held = _Sums(len(asked))
    last: dict[int, int] = {}
    found = np.full(len(asked), np.inf)
    for now, entry in enumerate(asked.tolist()):
        before = last.get(entry)
        if before is not None:
            found[now] = held.after(before) + sizes[entry]
            held.add(before, -sizes[entry])
        held.add(now, sizes[entry])
        last[entry] = now
    return found


class _Sums:
    """Sums over ranges of places that change (a Fenwick tree)."""

    def __init__(self, length: int) -> None:
        self._tree = [0] * (length + 1)
        self._total = 0

    def add(self, place: int, value: int) -> None:
        self._total += value
        node = place + 1
        while node < len(self._tree):
            self._tree[node] += value
            node += node & -node

    def after(self, place: int) -> int:
        total, node = self._total, place + 1
        while node:
            total -= self._tree[node]
            node -= node & -node
        return total
