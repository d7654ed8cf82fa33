"""What a trainer refuses when it starts, found out before; decodes nothing, needs no PyTorch.

What cannot start fits nowhere, so a forecast of it would be a figure without a meaning. The lines
are the trainer's own.
"""

from collections.abc import Sequence
from pathlib import Path

from vrtspike.config import Config
from vrtspike.data.cropping import FramePair, check_fits
from vrtspike.data.epoch_size import batches_of_each_rank
from vrtspike.data.frames import picture_size
from vrtspike.data.layouts import Clip, find_clips, window_starts
from vrtspike.data.settings import DataConfig
from vrtspike.data.stored_frames import StoredFrames
from vrtspike.errors import DataError
from vrtspike.memory_demand import Machine
from vrtspike.model.vrt_settings import check_network


def check_start(config: Config, machine: Machine) -> None:
    """Network, GPUs and, where the data set is there, its fast store, pictures and samples.

    Pictures are judged by the first one of each clip. Damaged ones are left to the trainer, which
    may be told to go on without them.

    Raises:
        ModelError: the network cannot be built, or does not take the crops.
        DataError: no data set, a fast store that is not up to date, pictures smaller than a crop,
            too few samples, too few GPUs.
    """
    data = config.data
    for crop in (data.crop_size, *(stage.crop_size for stage in data.crop_schedule)):
        check_network(config.model, data.clip_len, crop)
    if machine.gpus is not None and machine.device == "cuda" and machine.ranks > machine.gpus:
        raise DataError(
            f"process {machine.gpus} of this machine has no GPU of its own: {machine.gpus} found; "
            "start fewer processes"
        )
    if Path(data.root).exists():
        _check_data(config, machine)


def _check_data(config: Config, machine: Machine) -> None:
    data, train = config.data, config.train
    crops = {data.crop_size, *(stage.crop_size for stage in data.crop_schedule)}
    samples = _samples(data, data.train_split, sorted(crops), stride=1)
    _samples(data, data.val_split, [data.val_crop_size or 0], stride=data.clip_len)
    batches_of_each_rank(
        samples,
        machine.ranks * machine.machines,
        train.batch_size,
        drops_last=config.dataloader.drop_last,
    )


def _samples(data: DataConfig, split: str, crops: Sequence[int], stride: int) -> int:
    """How many samples a split has, once its pictures are large enough for the crops."""
    clips = find_clips(data, split)
    if data.fast_store is not None:
        StoredFrames.open(Path(data.fast_store), data, split, clips)
    voxels = data.use_precomputed_voxels
    starts = [window_starts(clip, data.clip_len, voxels=voxels, stride=stride) for clip in clips]
    for clip, found in zip(clips, starts, strict=True):
        if found:
            _check_pictures(clip, crops)
    count = sum(len(found) for found in starts)
    if not count:
        longest = max((len(clip.frames) for clip in clips), default=0)
        raise DataError(
            f"{data.root}, split {split!r}: no clip has {data.clip_len} frames in a row "
            f"(DATA.CLIP_LEN), the longest has {longest}"
        )
    return count


def _check_pictures(clip: Clip, crops: Sequence[int]) -> None:
    path = clip.frames[0].blur
    try:
        height, width = picture_size(path)
    except DataError:
        return
    for crop in crops:
        check_fits(FramePair(height, width, scale=1), crop, path)
