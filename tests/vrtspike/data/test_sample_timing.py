"""Timing real samples before a run: by an injected clock, bounded, and without a trace left."""

from itertools import count

import cv2
import pytest
import torch

from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.loading_need import StepTime
from vrtspike.data.sample_timing import spread, time_samples, undisturbed_ns
from vrtspike.data.settings import DataConfig, DataLoaderConfig

MS = 1_000_000


def dataset(root):
    config = DataConfig(root=str(root), clip_len=3, crop_size=32, k=4)
    return SpikeDeblurDataset(config, "train", training=True, seed=9)


def ticking(step_ms=1):
    ticks = count(step=step_ms * MS)
    return lambda: next(ticks)


def test_the_price_follows_from_the_clock_alone(unified):
    first, second = (
        time_samples(dataset(unified), perf_ns=ticking(), wall_ns=ticking(), cpu_ns=ticking(3))[0]
        for _ in range(2)
    )
    assert first == second
    assert first.samples == 8
    assert first.cpu_ms == 3.0
    assert sum(first.part_ms.values()) == pytest.approx(first.made_ms)
    assert first.part_ms["decode"] == 6.0  # two pictures of three frames, a tick each
    assert first.spent_ms == 9.0  # looked at before, after each and at the end


def test_no_further_sample_is_begun_when_the_time_is_over(unified):
    found, _ = time_samples(dataset(unified), wall_ns=ticking(1000), budget_s=0.5)
    assert found.samples == 1


def test_it_leaves_threads_and_samples_as_they_were(unified):
    timed, plain = dataset(unified), dataset(unified)
    before = torch.get_num_threads(), cv2.getNumThreads()
    assert time_samples(timed)[0] is not None
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before
    assert torch.equal(timed[2]["blur"], plain[2]["blur"])


def test_broken_samples_are_passed_over_and_if_all_are_it_says_which(unified):
    pictures = sorted(unified.glob("train/**/blur/*.png"))
    pictures[3].write_bytes(pictures[3].read_bytes()[:100])
    found, _ = time_samples(dataset(unified))
    assert 1 <= found.samples < 8
    for picture in pictures:
        picture.write_bytes(picture.read_bytes()[:100])
    found, reason = time_samples(dataset(unified))
    assert found is None
    assert reason.startswith("a sample could not be loaded: ")
    assert ".png" in reason


def test_waiting_for_a_core_is_no_price_of_a_sample(tmp_path):
    schedule = tmp_path / "schedstat"
    schedule.write_text("12 0 3\n")
    before = undisturbed_ns(str(schedule))
    schedule.write_text(f"12 {3600 * 1000 * MS} 3\n")
    assert before - undisturbed_ns(str(schedule)) > 3000 * 1000 * MS
    for text in ("", "x y z", "1 2"):
        schedule.write_text(text)
        assert undisturbed_ns(str(schedule)) >= before


def test_a_wait_between_the_readings_is_in_both_or_in_none(tmp_path):
    """Such a wait once made one part of a sample too long, and the next one negative."""
    schedule = tmp_path / "schedstat"
    schedule.write_text("12 0 3\n")
    now = iter([5 * MS, 9 * MS])

    def perf_ns():
        moment = next(now)
        if moment == 5 * MS:  # back on a core after 4 ms without one
            schedule.write_text(f"12 {4 * MS} 3\n")
        return moment

    assert undisturbed_ns(str(schedule), perf_ns) == 5 * MS


def test_samples_are_spread_over_the_data():
    assert spread(100, 4) == [0, 25, 50, 75]
    assert spread(3, 8) == [0, 1, 2]


def test_auto_times_samples_and_a_number_does_not(unified):
    data = DataConfig(root=str(unified), clip_len=3, crop_size=32, k=4)
    job = LoaderJob(step=StepTime(ms=1e9, source="a run"), samples_per_step=1)
    auto = build_loaders(data, DataLoaderConfig(total_workers="auto"), job)
    given = build_loaders(data, DataLoaderConfig(total_workers=0), job)
    assert auto.workers.per_rank == auto.workers.needed == 1
    facts = auto.worker_facts()
    assert facts["samples_timed"] == 8
    parts = [ms for name, ms in facts.items() if name.startswith("part_")]
    assert sum(parts) == pytest.approx(facts["sample_ms"])
    assert facts["reason"] is None
    assert given.worker_facts()["samples_timed"] is None
    assert "auto only" in given.worker_facts()["reason"]


def test_ranks_hear_of_the_price_from_the_first_one(unified):
    data, auto = DataConfig(root=str(unified), clip_len=3, crop_size=32, k=4), DataLoaderConfig()
    said = []

    def gather(value):
        said.append(value)
        return [said[0], value]

    first = build_loaders(data, auto, LoaderJob(world_size=2, local_ranks=2, gather=gather))
    second = build_loaders(
        data, auto, LoaderJob(rank=1, world_size=2, local_ranks=2, gather=gather)
    )
    assert said[1] is None
    assert first.need.cost == second.need.cost is not None
