"""Damaged samples: named, and replaced or left out, the same whatever loads them."""

import shutil

import pytest
import torch

from tests.vrtspike.data.test_loader import loaders
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.damage import DAMAGE, DamagePolicy, damage_of
from vrtspike.data.loader import LoaderJob
from vrtspike.data.loading_faults import SystemLimitError
from vrtspike.data.settings import DataConfig
from vrtspike.errors import DataError

SKIP = {"bad_samples": "skip", "max_bad_share": 0.5}


def damaged(root, name="train/a/blur/000001.png"):
    """One picture cut short; of the windows of three frames, two hold it."""
    path = root / name
    path.write_bytes(path.read_bytes()[:-40])
    return path


def of_epoch(built, epoch, batches_done=0):
    built.start_epoch(epoch, batches_done)
    return list(built.train)


def told(batches):
    return [each for batch in batches for each in batch.get(DAMAGE, ())]


def test_the_first_damaged_sample_stops_a_run_and_says_how_to_go_on(unified):
    path = damaged(unified)
    built = loaders(unified)
    with pytest.raises(
        DataError, match=r"cut short after \d+ of at least \d+ bytes: .*\. DATA\.BAD_SAMPLES=skip"
    ) as got:
        of_epoch(built, 0)
    assert str(got.value).startswith(f"{path}: ")


@pytest.mark.parametrize("workers", [0, 2])
def test_another_sample_takes_its_place_whatever_loads_it(unified, workers):
    path = damaged(unified)
    plain, built = loaders(unified, **SKIP), loaders(unified, workers, **SKIP)
    for epoch in (0, 1):
        expected, found = of_epoch(plain, epoch), of_epoch(built, epoch)
        assert len(found) == 4, "as many batches as without damage"
        assert told(found) == told(expected)
        assert {each.sample for each in told(found)} == {0, 1}
        for each in told(found):
            assert each.reason.startswith(f"{path}: the picture is cut short")
            assert each.replaced_by not in (0, 1)
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one["blur"], other["blur"])
            assert len(one["blur"]) == 2


def test_the_sample_in_its_place_is_an_ordinary_one(unified):
    damaged(unified)
    config = DataConfig(root=str(unified), clip_len=3, crop_size=32, k=4, **SKIP)
    dataset = SpikeDeblurDataset(config, "train", training=True, seed=9)
    taken = dataset[0]
    other = dataset[taken[DAMAGE].replaced_by]
    assert torch.equal(taken["blur"], other["blur"])
    dataset.set_epoch(1)
    assert any(dataset[n][DAMAGE] != taken[DAMAGE] for n in (0, 1)), "another draw in each epoch"


def test_a_resumed_epoch_meets_the_same_replacements(unified):
    damaged(unified)
    whole = of_epoch(loaders(unified, **SKIP), 3)
    rest = of_epoch(loaders(unified, **SKIP), 3, batches_done=2)
    for one, other in zip(whole[2:], rest, strict=True):
        assert torch.equal(one["spike_vox"], other["spike_vox"])
        assert one.get(DAMAGE) == other.get(DAMAGE)


def test_ranks_keep_step_where_only_one_of_them_meets_damage(unified):
    damaged(unified)
    counts, met = [], []
    for rank in (0, 1):
        job = LoaderJob(batch_size=1, seed=9, rank=rank, world_size=2)
        batches = of_epoch(loaders(unified, job=job, **SKIP), 0)
        counts.append(len(batches))
        met += [each.sample for each in told(batches)]
    assert counts == [4, 4]
    assert sorted(met) == [0, 1]


def test_validation_leaves_damaged_samples_out(unified):
    built = loaders(unified, job=LoaderJob(val_batch_size=2), **SKIP)
    whole = [batch["meta"]["frame_idx"].tolist() for batch in built.val]
    assert whole == [[[0, 1, 2], [3, 4, 5]]]
    path = damaged(unified, "val/c/sharp/000004.png")
    (batch,) = built.val
    assert batch["meta"]["frame_idx"].tolist() == [[0, 1, 2]]
    (damage,) = batch[DAMAGE]
    assert (damage.sample, damage.replaced_by) == (1, None)
    assert str(path) in damage.line
    assert "left out" in damage.line
    damaged(unified, "val/c/sharp/000001.png")
    (batch,) = built.val
    assert set(batch) == {DAMAGE}


def test_a_data_set_that_is_gone_is_no_chance(unified):
    built = loaders(unified, **SKIP)
    shutil.rmtree(unified / "train")
    with pytest.raises(
        DataError, match=r"it was there when .* of 10 samples .* still there\?"
    ) as got:
        of_epoch(built, 0)
    assert "\n" not in str(got.value)


def test_damage_found_before_the_run_is_skipped_in_it(unified):
    """A spike file of whole ticks, but too few: only the check of the sizes knows."""
    path = unified / "train/a/spike/000002.dat"
    path.write_bytes(path.read_bytes()[:-256])
    with pytest.raises(DataError, match="expected 16"):
        loaders(unified)
    built = loaders(unified, **SKIP)
    (note,) = [each for each in built.notes if "1 of 18 spike files are damaged" in each]
    assert str(path) in note
    found = told(of_epoch(built, 0))
    assert {each.sample for each in found} == {0, 1, 2}
    assert all("expected 16" in each.reason for each in found)
    with pytest.raises(DataError, match="1 of 18 spike files are damaged, more than"):
        loaders(unified, bad_samples="skip", max_bad_share=0.05)


def test_a_clip_whose_first_frame_is_damaged_begins_with_the_next(unified):
    (unified / "train/a/blur/000000.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"000000\.png"):
        loaders(unified)
    assert {each.sample for each in told(of_epoch(loaders(unified, **SKIP), 0))} == {0}


def test_the_middle_frame_that_cannot_be_read_is_not_the_one_compared(unified):
    damaged(unified, "train/a/sharp/000003.png")
    with pytest.raises(DataError, match=r"sharp/000003\.png"):
        loaders(unified)
    assert loaders(unified, **SKIP).notes


def test_a_limit_of_the_system_is_no_damage():
    policy = DamagePolicy(policy="skip", split="train", length=5, training=True, seed=0)

    def take(index):
        raise SystemLimitError("too many open files")

    with pytest.raises(SystemLimitError):
        policy.load(1, 0, take)


def test_what_is_whole_stays_as_it_is():
    samples = [{"blur": 1}, {"blur": 2}]
    assert damage_of(samples) == (samples, ())
