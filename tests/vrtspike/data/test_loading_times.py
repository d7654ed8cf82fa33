"""What loading processes say of their work, through PyTorch's loader in all its modes."""

import threading

import pytest
import torch

from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.settings import DataConfig, DataLoaderConfig
from vrtspike.profiling.loader_facts import LoaderFacts, batches_ready, tensors_of
from vrtspike.profiling.loading_clock import TimedBatch
from vrtspike.profiling.records import LOADING_OTHER, LOADING_PARTS


def loaders(root, facts, workers=0, **settings):
    data = DataConfig(root=str(root), **{"clip_len": 3, "crop_size": 32, "k": 4, **settings})
    job = LoaderJob(batch_size=2, seed=9, facts=facts)
    return build_loaders(data, DataLoaderConfig(total_workers=workers), job)


def watched_epoch(built, facts, epoch=0):
    """The batches of an epoch and the record of their loading."""
    facts.start(None)
    built.start_epoch(epoch)
    batches = list(built.train)
    return batches, facts.step_ends(1)["loader"]()


def test_the_model_gets_the_same_bits_timed_or_not(unified):
    facts = LoaderFacts()
    for workers in (0, 2):
        plain = loaders(unified, None, workers)
        plain.start_epoch(3)
        timed, _ = watched_epoch(loaders(unified, facts, workers), facts, epoch=3)
        for expected, batch in zip(list(plain.train), timed, strict=True):
            assert type(batch) is dict
            assert batch.keys() == expected.keys()
            assert batch["meta"]["seq"] == expected["meta"]["seq"]
            pairs = zip(tensors_of(expected), tensors_of(batch), strict=True)
            assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_parts_of_a_real_epoch_sum_to_its_whole(unified, workers):
    facts = LoaderFacts()
    built = loaders(unified, facts, workers)
    for epoch in (0, 1):  # the second one with workers that live on
        batches, record = watched_epoch(built, facts, epoch)
        assert len(record.fetches) == len(batches) == 4
        made_ms = sum(fetch.made_ms for fetch in record.fetches)
        assert sum(record.part_ms.values()) == pytest.approx(made_ms)
        assert set(record.part_ms) == {*LOADING_PARTS, LOADING_OTHER}
        assert all(record.part_ms[name] > 0 for name in LOADING_PARTS)
        assert {fetch.samples for fetch in record.fetches} == {2}
        makers = [fetch.worker for fetch in record.fetches]
        assert makers == ([n % workers for n in range(4)] if workers else [None] * 4)
        for fetch in record.fetches:
            assert (fetch.queued_ms is None) == (fetch.ready is None) == (workers == 0)
            assert (fetch.queued_ms or 0) >= 0


def test_voxels_from_a_file_and_pictures_from_the_cache_cost_their_own_parts(unified, tmp_path):
    facts = LoaderFacts()
    cached = loaders(unified, facts, use_ram_cache=True, cache_size_gb=0.1)
    watched_epoch(cached, facts)
    _, again = watched_epoch(cached, facts)
    assert (again.part_ms["read"], again.part_ms["decode"]) == (0, 0)
    assert again.part_ms["voxelise"] > 0


@pytest.mark.slow
def test_a_spawned_worker_tells_its_times_too(unified):
    facts = LoaderFacts()
    built = loaders(unified, facts, 1)
    built.train.multiprocessing_context = "spawn"
    _, record = watched_epoch(built, facts)
    assert {fetch.worker for fetch in record.fetches} == {0}
    assert record.part_ms["decode"] > 0


def test_the_timing_passes_the_thread_that_pins():
    """PyTorch's own function of that thread, which needs no GPU as long as no tensor is there."""
    pin_memory = torch.utils.data._utils.pin_memory.pin_memory
    assert pin_memory(TimedBatch({"name": "a"}, b"123")) == TimedBatch({"name": "a"}, b"123")


def test_finished_batches_are_counted_in_pytorchs_own_queue(unified):
    """PyTorch's fields that this reads are private: a version without them must show here."""
    built = loaders(unified, LoaderFacts(), 1)
    built.train.facts = None
    iterator = super(type(built.train), built.train).__iter__()
    waiting = threading.Event()
    for _ in range(500):  # until the one worker has made all that the epoch has
        if batches_ready(iterator) == 4:
            break
        waiting.wait(0.02)
    for ready in (4, 3, 2, 1):
        assert batches_ready(iterator) == ready
        next(iterator)
    assert batches_ready(iterator) == 0


def test_validation_is_not_watched(unified):
    facts = LoaderFacts()
    built = loaders(unified, facts)
    facts.start(None)
    assert all(isinstance(batch, dict) for batch in built.val)
    assert facts.step_ends(1) == {}
