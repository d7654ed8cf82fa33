"""What share of look-ups a cache of any size answers, from the order of the samples; no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from vrtspike.data.sample_order import Order, OrderPlan, reuse_bytes

MAX_SAMPLES = 100_000
"""Of a larger data set the order is not gone through beforehand: that would take too long."""
_MOST_EPOCHS = 10
_SAMPLES_GONE_THROUGH = 20_000
"""Of small data sets epochs differ much from each other, so several are gone through."""
_FILES_OF_A_FRAME = 3
_SLOW_FILES = 2
"""Two pictures, which are decoded, and the spikes, which are only read."""


@dataclass(frozen=True, kw_only=True)
class HitRate:
    """Hits per look-up, 0..1, with a cache of `cache_bytes`: in the first epoch, and later.

    `later_share` is that of all later epochs that were gone through, together. A range stands
    beside each where the processes have too few cores: how they take turns is then
    the system's choice. None where they have enough.
    """

    cache_bytes: int
    first_epoch_share: float
    later_share: float
    first_epoch_range: tuple[float, float] | None = None
    later_range: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Who looks up: machines that are alike, their ranks, the loading processes of each.

    `workers` are all loading processes of a rank, also beyond its `cores`: one that has to wait for
    a core has begun what it loads, and what it has begun is a miss for the others.
    """

    ranks: int = 1
    machines: int = 1
    workers: int = 1
    batch_size: int = 1
    cores: int | None = None

    @property
    def is_crowded(self) -> bool:
        """Whether processes wait for cores."""
        return self.cores is not None and self.workers > max(1, self.cores)


def hit_rates(
    plan: OrderPlan,
    *,
    frame_bytes: int,
    seed: int,
    cache_bytes: Sequence[int],
    loading: Loading | None = None,
    epochs: int | None = None,
) -> tuple[HitRate, ...]:
    """Hit rates of one cache that all loading processes of a machine share, for several sizes.

    Every frame is asked for as a whole (both pictures and its spikes), in the order in which the
    samples come; processes that load ahead of each other change that order by a few samples. What
    one process is still loading is a miss for another one that asks for it meanwhile. Of several
    machines it is the cache of the first one.

    Args:
        plan: The sampler's own order.
        frame_bytes: What the cache keeps of one frame.
        seed: Of the run.
        cache_bytes: Sizes to compare.
        loading: Who asks; one process without it.
        epochs: How many to go through, at least 2; as many as take no time without it.

    Returns:
        One for each size, empty where the data set is too large to go through.
    """
    samples, who = len(plan.clips), loading or Loading()
    if not samples or samples > MAX_SAMPLES or frame_bytes <= 0:
        return ()
    number = epochs or min(_MOST_EPOCHS, max(2, _SAMPLES_GONE_THROUGH // samples))
    orders = [_share(plan.epoch(seed, epoch), who) for epoch in range(number)]
    if not len(orders[0]):  # more ranks than samples
        return ()
    in_turn = _Course.of(plan, orders, who, frame_bytes, at_once=False)
    if not who.is_crowded:
        return tuple(_rate(in_turn, size) for size in cache_bytes)
    at_once = in_turn
    if samples <= _SAMPLES_GONE_THROUGH:  # going through the order again takes as long again
        at_once = _Course.of(plan, orders, who, frame_bytes, at_once=True)
    return tuple(_ranged(in_turn, at_once, size) for size in cache_bytes)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Course:
    """All look-ups of some epochs, one after the other.

    `needed_bytes` is the size of cache that would still have the entry, `before` the look-up that
    asked for the same last (-1: none), `rank` and `batch` who asks; the second epoch begins at
    `first`.
    """

    who: Loading
    clip_len: int
    needed_bytes: NDArray[np.float64]
    before: NDArray[np.int64]
    rank: NDArray[np.int64]
    batch: NDArray[np.int64]
    first: int

    @classmethod
    def of(
        cls,
        plan: OrderPlan,
        orders: Sequence[Order],
        who: Loading,
        frame_bytes: int,
        *,
        at_once: bool,
    ) -> "_Course":
        """Sample after sample, or as processes come to it that all go on at the same pace."""
        clips, firsts = np.asarray(plan.clips), np.asarray(plan.first_frames)
        most, length = int(firsts.max()) + plan.clip_len, plan.clip_len
        order = np.concatenate(orders)
        asked = ((clips[order] * most + firsts[order])[:, None] + np.arange(length)).reshape(-1)
        places = np.repeat(np.arange(len(order)), length)
        rank, sample = places % who.ranks, places // who.ranks
        batch, first = sample // who.batch_size, len(orders[0]) * length
        if at_once:
            workers, frame = max(1, who.workers), np.arange(len(asked)) % length
            epoch = np.arange(len(asked)) // first
            turns = (rank, batch % workers, frame, sample % who.batch_size, batch // workers, epoch)
            by_time = np.lexsort(turns)
            asked, rank, batch = asked[by_time], rank[by_time], batch[by_time]
        numbers = np.unique(asked, return_inverse=True)[1]
        sizes = [frame_bytes] * (int(numbers.max()) + 1)
        return cls(
            who=who,
            clip_len=length,
            needed_bytes=reuse_bytes(numbers.tolist(), sizes),
            before=_previous(numbers),
            rank=rank,
            batch=batch,
            first=first,
        )

    def shares(self, cache_bytes: int, *, most_misses: bool = False) -> tuple[float, float]:
        """Hits per look-up in the first epoch, and in the later ones together.

        With `most_misses` every process that asks for what another one has begun may load it once
        more, not only the next one, and a large batch does not keep them apart.
        """
        hit = self.needed_bytes <= cache_bytes
        # The look-up before was a miss, too, and is perhaps not over yet.
        loaded_at = self.before if not most_misses else _loadings(hit, self.before)
        is_loading = hit & (loaded_at >= 0) & ~hit[np.maximum(loaded_at, 0)]
        hits = hit * (1.0 - self._unfinished_share(loaded_at, most_misses) * is_loading)
        return float(hits[: self.first].mean()), float(hits[self.first :].mean())

    def _unfinished_share(
        self, loaded_at: NDArray[np.int64], most_misses: bool
    ) -> NDArray[np.float64]:
        """The chance that another process is still loading what it began at that look-up.

        Of two batches that are made at the same time the second begins at some moment of the
        first. If it comes to a picture less than one decoding before or after the first does, both
        decode it; and since it began later, only what is nearer to its beginning can meet: half of
        what they share.
        """
        last = np.maximum(loaded_at, 0)
        at_once = np.abs(self.batch - self.batch[last]) < max(1, self.who.workers)
        is_other = (self.rank != self.rank[last]) | (self.batch != self.batch[last])
        decodings = _SLOW_FILES * self.clip_len * (1 if most_misses else self.who.batch_size)
        chance = 0.5 * min(1.0, 2.0 / decodings) * _SLOW_FILES / _FILES_OF_A_FRAME
        found: NDArray[np.float64] = chance * ((loaded_at >= 0) & at_once & is_other)
        return found


def _rate(course: _Course, size: int) -> HitRate:
    first, later = course.shares(size)
    return HitRate(cache_bytes=size, first_epoch_share=first, later_share=later)


def _ranged(in_turn: _Course, at_once: _Course, size: int) -> HitRate:
    """From the fewest hits to the most, whichever way the processes take turns."""
    rate, ways = _rate(in_turn, size), product((in_turn, at_once), (False, True))
    found = [course.shares(size, most_misses=most) for course, most in ways]
    firsts, laters = zip(*found, strict=True)
    return replace(
        rate,
        first_epoch_range=(min(firsts), max(firsts)),
        later_range=(min(laters), max(laters)),
    )


def _share(order: Order, who: Loading) -> Order:
    """What the ranks of the first machine load; all ranks take turns, and load equally many."""
    world = who.ranks * who.machines
    place = np.arange(len(order) // world * world)
    return order[place[place % world < who.ranks]]


def _previous(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the same entry was asked for last; -1 for its first use."""
    order = np.argsort(numbers, kind="stable")
    same = np.diff(numbers[order], prepend=-1) == 0
    previous = np.full(len(numbers), -1)
    previous[order[same]] = order[np.flatnonzero(same) - 1]
    return previous


def _loadings(hit: NDArray[np.bool_], before: NDArray[np.int64]) -> NDArray[np.int64]:
    """The miss that brought what each hit found; a miss brought its own."""
    found = np.where(hit, before, np.arange(len(hit)))
    while not np.array_equal(further := found[found], found):
        found = further
    return found
