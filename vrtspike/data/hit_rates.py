"""What share of look-ups a cache of any size answers, from the order of the samples; no PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vrtspike.data.sample_order import Order, OrderPlan, reuse_bytes

MAX_SAMPLES = 20_000
"""Of a larger data set the order is not gone through beforehand: that would take many seconds."""


@dataclass(frozen=True, kw_only=True)
class HitRate:
    """Hits per look-up, 0..1, with a cache of `cache_bytes`: in the first epoch, and later."""

    cache_bytes: int
    first_epoch_share: float
    later_share: float


def hit_rates(
    plan: OrderPlan,
    *,
    frame_bytes: int,
    seed: int,
    cache_bytes: Sequence[int],
    ranks: int = 1,
    machines: int = 1,
) -> tuple[HitRate, ...]:
    """Hit rates of one cache that all loading processes share, for several sizes at once.

    Every frame is asked for as a whole (both pictures and its spikes), in the order in which the
    samples come; processes that load ahead of each other change that order by a few samples. Of
    several `machines` with `ranks` each it is the cache of the first one.

    Returns:
        One for each size, empty where the data set is too large to go through.
    """
    samples = len(plan.clips)
    if not samples or samples > MAX_SAMPLES or frame_bytes <= 0:
        return ()
    clips, firsts = np.asarray(plan.clips), np.asarray(plan.first_frames)
    most = int(firsts.max()) + plan.clip_len
    window = np.arange(plan.clip_len)
    first, later = (_share(plan.epoch(seed, epoch), ranks, machines) for epoch in (0, 1))
    order = np.concatenate([first, later])
    if not len(order):  # more ranks than samples
        return ()
    asked = ((clips[order] * most + firsts[order])[:, None] + window).reshape(-1)
    numbers = np.unique(asked, return_inverse=True)[1]
    needed = reuse_bytes(numbers.tolist(), [frame_bytes] * (int(numbers.max()) + 1))
    half = len(first) * plan.clip_len
    return tuple(
        HitRate(
            cache_bytes=size,
            first_epoch_share=float((needed[:half] <= size).mean()),
            later_share=float((needed[half:] <= size).mean()),
        )
        for size in cache_bytes
    )


def _share(order: Order, ranks: int, machines: int) -> Order:
    """What the ranks of the first machine load; all ranks take turns, and load equally many."""
    world = ranks * machines
    place = np.arange(len(order) // world * world)
    return order[place[place % world < ranks]]
