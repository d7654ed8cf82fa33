"""Order, resume, workers: the same samples whatever loads them."""

import os
import signal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vrtspike.data.loader import LoaderJob, build_loaders, start_worker
from vrtspike.data.sample_order import OrderPlan
from vrtspike.data.samplers import EpochSampler, ShardSampler
from vrtspike.data.settings import CropStage, DataConfig, DataLoaderConfig
from vrtspike.data.workers import allowed_cores, resolve_workers
from vrtspike.errors import DataError


def shuffled(length):
    return OrderPlan(
        clips=(0,) * length,
        first_frames=tuple(range(length)),
        clip_len=2,
        order="shuffled",
        group=1,
    )


def loaders(root, workers=0, job=None, loading=None, **settings):
    data = DataConfig(root=str(root), **{"clip_len": 3, "crop_size": 32, "k": 4, **settings})
    loading = DataLoaderConfig(total_workers=workers, **(loading or {}))
    return build_loaders(data, loading, job or LoaderJob(batch_size=2, seed=9))


def epoch_of(built, epoch, batches_done=0):
    built.start_epoch(epoch, batches_done)
    return [
        (batch["meta"]["seq"], batch["meta"]["frame_idx"].tolist(), batch["spike_vox"].sum().item())
        for batch in built.train
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_count_changes_nothing(unified, workers):
    plain, parallel = loaders(unified), loaders(unified, workers)
    for epoch in (0, 1):
        assert epoch_of(plain, epoch) == epoch_of(parallel, epoch)


def test_resume_in_the_middle_sees_the_rest(unified):
    whole = epoch_of(loaders(unified), 5)
    assert len(whole) == 4
    assert epoch_of(loaders(unified), 5, batches_done=3) == whole[3:]
    assert epoch_of(loaders(unified, 1), 5, batches_done=1) == whole[1:]
    assert whole != epoch_of(loaders(unified), 6)


def test_epoch_reaches_workers_that_live_on(unified):
    schedule = (CropStage(until_epoch=1, crop_size=16),)
    built = loaders(unified, 1, crop_schedule=schedule)
    sides = []
    for epoch in (0, 1):
        built.start_epoch(epoch)
        sides.append({batch["blur"].shape[-1] for batch in built.train})
    assert sides == [{16}, {32}]
    assert built.train._iterator is not None  # the workers did live on


def test_loading_leaves_the_global_random_numbers_alone(unified):
    built = loaders(unified, 1)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    epoch_of(built, 0)
    list(built.val)
    assert torch.rand(1) == expected


def test_validation_covers_every_frame_once_by_rank(unified):
    seen = []
    for rank in range(2):
        job = LoaderJob(rank=rank, world_size=2, local_ranks=2)
        for batch in loaders(unified, job=job).val:
            seen += batch["meta"]["frame_idx"].flatten().tolist()
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]


def test_cache_counts_of_workers_reach_the_trainer(unified):
    built = loaders(unified, 2, use_ram_cache=True, cache_size_gb=0.1)
    epoch_of(built, 0)
    stats = built.train_set.cache_stats()
    assert stats.hits + stats.misses == 8 * 3 * 3
    assert stats.limit_bytes == pytest.approx(0.1 * 2**30, abs=2)
    assert any("shared by 2 loading processes" in note for note in built.notes)


def test_a_workers_data_error_stays_one_line(unified):
    built = loaders(unified, 1)
    path = unified / "train/a/sharp/000003.png"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"000003\.png") as caught:
        epoch_of(built, 0)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_notes_say_what_was_found_and_warn_of_a_leak(unified):
    built = loaders(unified)
    assert any("Found 8 samples in split 'train'" in note for note in built.notes)
    assert any("data contract: 18 spike files" in note for note in built.notes)
    assert any("TOTAL_WORKERS" in note for note in built.notes)
    assert not any("WARNING" in note for note in built.notes)
    (unified / "val" / "a").symlink_to(unified / "train" / "a")
    assert any("also trained on" in note for note in loaders(unified).notes)


def test_a_batch_larger_than_the_data_is_refused(unified):
    with pytest.raises(DataError, match=r"TRAIN\.BATCH_SIZE 9"):
        loaders(unified, job=LoaderJob(batch_size=9))
    kept = loaders(unified, job=LoaderJob(batch_size=9), loading={"drop_last": False})
    assert len(epoch_of(kept, 0)) == 1


def test_broken_spikes_stop_the_run_before_it_begins(unified):
    path = unified / "val/c/spike/000001.dat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"000001\.dat"):
        loaders(unified)


def test_worker_ignores_ctrl_c_and_uses_one_thread():
    """In a process of its own, since it is never again what it was."""
    child = os.fork()
    if child == 0:
        start_worker(0)
        is_deaf = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        os._exit(0 if is_deaf and torch.get_num_threads() == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_pinning_needs_a_gpu(unified):
    assert not loaders(unified).train.pin_memory
    assert loaders(unified, job=LoaderJob(cuda=True)).train.pin_memory


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_ranks_share_an_epoch_without_overlap(length, world, seed, epoch):
    if length < world:
        with pytest.raises(DataError):
            EpochSampler(shuffled(length), seed=seed, world_size=world)
        return
    parts = []
    for rank in range(world):
        sampler = EpochSampler(shuffled(length), seed=seed, rank=rank, world_size=world)
        sampler.set_epoch(epoch)
        assert len(sampler) == len(list(sampler)) == length // world
        parts += list(sampler)
        half = len(sampler) // 2
        whole = list(sampler)
        sampler.set_epoch(epoch, half)
        assert list(sampler) == whole[half:]
    assert len(set(parts)) == len(parts) == length // world * world
    shards = [list(ShardSampler(length, rank=r, world_size=world)) for r in range(world)]
    assert sorted(index for shard in shards for index in shard) == list(range(length))


def test_resuming_beyond_the_epoch_is_refused():
    with pytest.raises(DataError, match="not the one that the run began with"):
        EpochSampler(shuffled(8), seed=0).set_epoch(0, 9)


@pytest.mark.parametrize(
    ("total", "ranks", "cores", "expected"),
    [
        ("auto", 3, 40, 10),
        ("auto", 4, 64, 12),
        ("auto", 1, 2, 1),
        ("auto", 1, 1, 1),
        ("auto", 4, 2, 1),
        (0, 2, 8, 0),
        (8, 2, 8, 4),
        (1, 2, 8, 1),
        (36, 1, 4, 36),
    ],
)
def test_workers_are_divided_by_the_machines_ranks(total, ranks, cores, expected):
    choice = resolve_workers(total, local_ranks=ranks, cores=cores)
    assert choice.per_rank == expected
    assert str(expected) in choice.explanation
    assert ("more than the 4 cores" in choice.explanation) == (total == 36)


def test_cores_are_those_allowed(tmp_path):
    free = allowed_cores(tmp_path)
    assert 1 <= free <= (os.cpu_count() or 1)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert allowed_cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert allowed_cores(tmp_path) == free
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert allowed_cores(tmp_path) == free
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000")
    assert allowed_cores(tmp_path) == 1
