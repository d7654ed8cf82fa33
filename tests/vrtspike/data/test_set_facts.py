"""What a training set holds, against what is really read and kept of it."""

import pytest

from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.plan import measure_data
from vrtspike.data.set_facts import set_facts
from vrtspike.data.settings import DataConfig


def data_set(root, **changes):
    config = DataConfig(root=str(root), **{"clip_len": 3, "crop_size": 32, "k": 5, **changes})
    return SpikeDeblurDataset(config, "train", training=True)


def test_frames_count_once_and_reads_for_each_sample(unified):
    """Two clips of 6 frames are 4 windows of 3 each."""
    found = set_facts(data_set(unified))
    assert (found["train_samples"], found["frame_reads"], found["train_frames"]) == (8, 24, 12)


def test_frames_of_no_sample_do_not_count(unified, clip_writer):
    clip_writer(unified / "train" / "short", 2)
    assert set_facts(data_set(unified))["train_frames"] == 12


def test_bytes_of_the_files_that_samples_are_made_of(unified):
    kinds = ("blur", "sharp", "spike")
    files = [file for kind in kinds for file in (unified / "train").rglob(f"{kind}/*")]
    # The first frame of each clip stands for all; pictures differ in size by some percent.
    expected = sum(file.stat().st_size for file in files)
    assert set_facts(data_set(unified))["file_bytes"] == pytest.approx(expected, rel=0.05)


def test_a_cache_keeps_as_much_as_the_plan_counts(unified):
    training = data_set(unified)
    per_frame = measure_data(training.config).cached_frame_bytes
    assert set_facts(training)["decoded_bytes"] == 12 * per_frame


def test_files_that_cannot_be_asked_leave_sizes_unknown(unified):
    training = data_set(unified)
    training.clips[0].frames[0].blur.unlink()
    found = set_facts(training)
    assert (found["file_bytes"], found["decoded_bytes"]) == (None, None)
    assert found["train_frames"] == 12
