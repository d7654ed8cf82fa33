"""What the trainer refuses, the forecast refuses with the same words."""

import shutil
from dataclasses import replace

import pytest

from vrtspike.config import load_config
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.sample_order import OrderPlan
from vrtspike.data.samplers import EpochSampler
from vrtspike.engine.batch_stream import BatchStream
from vrtspike.errors import VRTSpikeError
from vrtspike.memory_demand import Machine
from vrtspike.start_check import check_start

CPU = Machine(device="cpu", ranks=1, cores=4)


def refusal(act):
    with pytest.raises(VRTSpikeError) as caught:
        act()
    return str(caught.value)


@pytest.fixture
def with_settings(project):
    def load(*overrides):
        return load_config(project.config, (f"DATA.ROOT={project.tree}", *overrides))

    return load


@pytest.mark.parametrize(
    ("override", "training"), [("DATA.CROP_SIZE=256", True), ("DATA.VAL_CROP_SIZE=256", False)]
)
def test_a_crop_larger_than_a_picture(with_settings, override, training):
    config = with_settings(override)
    split = config.data.train_split if training else config.data.val_split
    said = refusal(lambda: check_start(config, CPU))
    assert "48x48 pixels are less than the crop of 256" in said
    assert said == refusal(lambda: SpikeDeblurDataset(config.data, split, training=training))


def test_clips_that_are_all_shorter_than_a_sample(with_settings):
    config = with_settings("DATA.CLIP_LEN=99")
    said = refusal(lambda: check_start(config, CPU))
    assert "no clip has 99 frames in a row (DATA.CLIP_LEN), the longest has" in said
    assert said == refusal(
        lambda: SpikeDeblurDataset(config.data, config.data.train_split, training=True)
    )


def test_fewer_samples_than_ranks_of_all_machines(with_settings):
    config = with_settings()
    check_start(config, CPU)
    many = replace(CPU, ranks=100, machines=7)
    said = refusal(lambda: check_start(config, many))
    samples = len(SpikeDeblurDataset(config.data, config.data.train_split, training=True))
    plan = OrderPlan(
        clips=(0,) * samples,
        first_frames=tuple(range(samples)),
        clip_len=2,
        order="shuffled",
        group=1,
    )
    assert said == refusal(lambda: EpochSampler(plan, seed=0, world_size=700))


def test_an_epoch_without_a_whole_batch(with_settings):
    class Nothing:
        def __len__(self):
            return 0

    config = with_settings("TRAIN.BATCH_SIZE=500")
    said = refusal(lambda: check_start(config, CPU))
    assert said == refusal(lambda: BatchStream(Nothing()))
    check_start(with_settings("TRAIN.BATCH_SIZE=500", "DATALOADER.DROP_LAST=false"), CPU)


@pytest.mark.parametrize(("ranks", "refused"), [(8, False), (9, True)])
def test_more_processes_than_gpus(with_settings, ranks, refused):
    config = with_settings("DATA.ROOT=nowhere")
    gpus = replace(CPU, device="cuda", ranks=ranks, gpus=8)
    if refused:
        said = refusal(lambda: check_start(config, gpus))
        assert said == (
            "process 8 of this machine has no GPU of its own: 8 found; start fewer processes"
        )
    else:
        check_start(config, gpus)


def test_a_picture_that_cannot_be_read_is_left_to_the_trainer(with_settings, project, tmp_path):
    copy = shutil.copytree(project.tree, tmp_path / "copy")
    min((copy / "train").glob("*/blur/*.png")).write_bytes(b"no picture")
    check_start(with_settings(f"DATA.ROOT={copy}"), CPU)


def test_a_fast_store_that_the_trainer_would_refuse(with_settings, tmp_path):
    config = with_settings(f"DATA.FAST_STORE={tmp_path / 'nowhere'}")
    said = refusal(lambda: check_start(config, CPU))
    assert "nowhere" in said
    assert said == refusal(
        lambda: SpikeDeblurDataset(config.data, config.data.train_split, training=True)
    )
