"""Orders of an epoch, and what a least recently used cache makes of them."""

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrtspike.data.sample_order import OrderPlan, grouped_order, reuse_bytes
from vrtspike.data.samplers import EpochSampler

CLIP_LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def clips_of(lengths):
    return [clip for clip, length in enumerate(lengths) for _ in range(length)]


def plan(lengths=(20, 31, 9), order="grouped", group=8, clip_len=5):
    starts = [start for length in lengths for start in range(length)]
    return OrderPlan(
        clips=tuple(clips_of(lengths)),
        first_frames=tuple(starts),
        clip_len=clip_len,
        order=order,
        group=group,
    )


@given(CLIP_LENGTHS, st.integers(1, 12), st.integers(0, 3), st.integers(0, 3))
def test_every_sample_comes_once_and_the_same_again(lengths, group, seed, epoch):
    clips = clips_of(lengths)
    order = grouped_order(clips, group=group, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(len(clips)))
    again = grouped_order(clips, group=group, seed=seed, epoch=epoch)
    assert order.tolist() == again.tolist()


@given(CLIP_LENGTHS, st.integers(1, 12), st.integers(0, 3))
def test_a_group_lies_in_one_clip_and_spans_no_more_than_its_size(lengths, group, epoch):
    clips = clips_of(lengths)
    order = grouped_order(clips, group=group, seed=0, epoch=epoch).tolist()
    runs, run = [], [order[0]]
    for sample in order[1:]:
        near = all(abs(sample - other) < group for other in run)
        if clips[sample] == clips[run[0]] and near:
            run.append(sample)
        else:
            runs.append(run)
            run = [sample]
    runs.append(run)
    most = sum(-(-length // group) + 1 for length in lengths)
    assert len(runs) <= most


def test_groups_are_cut_elsewhere_in_each_epoch():
    clips = clips_of([200])
    first = grouped_order(clips, group=10, seed=0, epoch=0)
    cuts = set()
    for epoch in range(12):
        order = grouped_order(clips, group=10, seed=0, epoch=epoch)
        jumps = np.flatnonzero(np.abs(np.diff(order)) >= 10)
        cuts.add(int(min(order[jumps + 1].min(), 9)))
    assert len(cuts) > 2
    assert first.tolist() != grouped_order(clips, group=10, seed=1, epoch=0).tolist()


@pytest.mark.parametrize("order", ["shuffled", "grouped"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_an_epoch_and_a_resumed_one_goes_on(order, world):
    seen = []
    for rank in range(world):
        sampler = EpochSampler(plan(order=order), seed=3, rank=rank, world_size=world)
        sampler.set_epoch(4)
        whole = list(sampler)
        sampler.set_epoch(4, 7)
        assert list(sampler) == whole[7:]
        assert len(whole) == 60 // world
        seen += whole
    assert len(set(seen)) == len(seen)


def hits_of_lru(lookups, sizes, limit):
    held, used, hits = OrderedDict(), 0, 0
    for entry in lookups:
        if entry in held:
            held.move_to_end(entry)
            hits += 1
            continue
        if sizes[entry] > limit:
            continue
        while used + sizes[entry] > limit:
            used -= sizes[held.popitem(last=False)[0]]
        held[entry] = None
        used += sizes[entry]
    return hits


@settings(max_examples=150)
@given(st.lists(st.integers(0, 15), max_size=200), st.integers(1, 20))
def test_entries_of_one_size_are_forecast_exactly(lookups, capacity):
    sizes = [7] * 16
    distances = reuse_bytes(lookups, sizes)
    assert int((distances <= 7 * capacity).sum()) == hits_of_lru(lookups, sizes, 7 * capacity)


@pytest.mark.parametrize("order", ["shuffled", "grouped"])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 1.0])
def test_frames_of_three_sizes_are_forecast_within_a_percent(order, share):
    way = plan(lengths=(96,) * 6, order=order, group=16)
    frames = {}
    sizes, lookups = [], []
    for epoch in range(3):
        for sample in way.epoch(0, epoch).tolist():
            first = way.first_frames[sample]
            for kind, size in ((0, 2764800), (1, 2764800), (2, 253952)):
                for frame in range(first, first + way.clip_len):
                    key = (way.clips[sample], frame, kind)
                    if key not in frames:
                        frames[key] = len(sizes)
                        sizes.append(size)
                    lookups.append(frames[key])
    limit = int(share * sum(sizes))
    forecast = (reuse_bytes(lookups, sizes) <= limit).mean()
    assert forecast == pytest.approx(hits_of_lru(lookups, sizes, limit) / len(lookups), abs=0.01)


def test_grouping_is_what_lets_a_small_cache_hit():
    sizes = [1] * 600
    rates = {}
    for order in ("shuffled", "grouped"):
        way = plan(lengths=(96,) * 6, order=order, group=16)
        asked = [
            100 * way.clips[sample] + frame
            for sample in way.epoch(0, 0).tolist()
            for frame in range(way.first_frames[sample], way.first_frames[sample] + 5)
        ]
        rates[order] = (reuse_bytes(asked, sizes) <= 60).mean()
    assert rates["grouped"] > 0.7
    assert rates["shuffled"] < 0.2
