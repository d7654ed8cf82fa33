"""What share of look-ups a cache of any size answers, from the order of the samples; no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass

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

    `later_share` is that of all later epochs that were gone through, together.
    """

    cache_bytes: int
    first_epoch_share: float
    later_share: float


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Who looks up: machines that are alike, their ranks, the loading processes of each.

    `workers` are all loading processes of a rank, also beyond its cores: one that has to wait for a
    core has begun what it loads, and what it has begun is a miss for the others.
    """

    ranks: int = 1
    machines: int = 1
    workers: int = 1
    batch_size: int = 1


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
    clips, firsts = np.asarray(plan.clips), np.asarray(plan.first_frames)
    most = int(firsts.max()) + plan.clip_len
    number = epochs or min(_MOST_EPOCHS, max(2, _SAMPLES_GONE_THROUGH // samples))
    orders = [_share(plan.epoch(seed, epoch), who) for epoch in range(number)]
    order = np.concatenate(orders)
    if not len(order):  # more ranks than samples
        return ()
    asked = ((clips[order] * most + firsts[order])[:, None] + np.arange(plan.clip_len)).reshape(-1)
    numbers = np.unique(asked, return_inverse=True)[1]
    needed = reuse_bytes(numbers.tolist(), [frame_bytes] * (int(numbers.max()) + 1))
    before = _previous(numbers)
    unfinished = _unfinished_share(before, plan.clip_len, who)
    first = len(orders[0]) * plan.clip_len

    def rate(size: int) -> HitRate:
        hit = needed <= size
        # The look-up before was a miss, too, and is perhaps not over yet.
        hits = hit * (1.0 - unfinished * ~hit[np.maximum(before, 0)])
        return HitRate(
            cache_bytes=size,
            first_epoch_share=float(hits[:first].mean()),
            later_share=float(hits[first:].mean()),
        )

    return tuple(rate(size) for size in cache_bytes)


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


def _unfinished_share(
    before: NDArray[np.int64], clip_len: int, who: Loading
) -> NDArray[np.float64]:
    """The chance that what was asked for last is still being loaded by another process.

    Of two batches that are made at the same time the second begins at some moment of the first. If
    it comes to a picture less than one decoding before or after the first does, both decode it; and
    since it began later, only what is nearer to its beginning can meet: half of what they share.
    """
    places = np.arange(len(before)) // clip_len
    rank, batch = places % who.ranks, places // who.ranks // who.batch_size
    last = np.maximum(before, 0)
    at_once = np.abs(batch - batch[last]) < max(1, who.workers)
    is_other = (rank != rank[last]) | (batch != batch[last])
    decodings = _SLOW_FILES * clip_len * who.batch_size
    chance = 0.5 * min(1.0, 2.0 / decodings) * _SLOW_FILES / _FILES_OF_A_FRAME
    found: NDArray[np.float64] = chance * ((before >= 0) & at_once & is_other)
    return found
