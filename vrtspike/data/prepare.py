"""Raw GoPro and its spikes to the unified tree, with a validation split and ready-made voxels.

    <out>/{train,val,test}/<clip>/{blur,blur_gamma,sharp,spike[,spike_vox]}/  and  <out>/config.yaml

Every clip is checked against the data contract and appears only when whole; a stopped run goes on
where it was when started again with the same arguments.
"""

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vrtspike.data.atomic_files import (
    check_apart,
    check_out_folder,
    claim_folder,
    folder_lock,
    whole_folder,
)
from vrtspike.data.contract import check_clips, sensor_of
from vrtspike.data.fast_store import convert, default_threads
from vrtspike.data.layouts import Clip, find_clips, is_complete, missing, splits_in
from vrtspike.data.settings import DataConfig, VoxelMode
from vrtspike.data.spike_config import SpikeConfig, write_spike_config
from vrtspike.data.spike_stream import read_dat, voxelise
from vrtspike.errors import DataError, VRTSpikeError
from vrtspike.standard_output import print_error, print_line

MANIFEST = "prepare.json"
VOXEL_DTYPE = np.float16
"""Half the size of float32; a voxel is a small multiple of theta / ticks, exact to 0.05 %."""


@dataclass(frozen=True, kw_only=True)
class PrepareParams:
    """What the prepared tree depends on. `voxels` is the number of bins; None makes none."""

    gopro: str
    spikes: str
    copy: bool = False
    voxels: int | None = None
    voxel_mode: VoxelMode = "flat"
    val_ratio: float = 0.1
    seed: int = 42

    def __post_init__(self) -> None:
        if not 0.0 <= self.val_ratio < 1.0:
            raise DataError(f"--val-ratio must be at least 0 and below 1, got {self.val_ratio}")
        if self.voxels is not None and not 1 <= self.voxels <= 1024:
            raise DataError(f"--voxels must be 1 to 1024 bins, got {self.voxels}")


def prepare(out: Path, params: PrepareParams, say: Callable[[str], None] = lambda _: None) -> None:
    """Build the unified tree at `out`.

    Args:
        out: the new data root.
        params: where from, and how.
        say: called with a line for every finished clip.

    Raises:
        DataError: a source is missing or breaks the data contract, or `out` was prepared in
            another way.
    """
    check_out_folder(out)
    check_apart("--out", out, (Path(params.gopro), Path(params.spikes)))
    plan = _plan(params)
    with folder_lock(out):
        claim_folder(
            out / MANIFEST,
            dataclasses.asdict(params),
            other="was prepared with other arguments",
            foreign="is not empty and was not made by this command",
        )
        sensor = _one_sensor([clip for clips in plan.values() for clip in clips])
        _check_room(out, params, plan, sensor)
        for split, clips in plan.items():
            for clip in clips:
                say(f"{split}/{clip.name}: {_place(out / split, clip, params)}")
        _describe(out, params, sensor)


def _plan(params: PrepareParams) -> dict[str, list[Clip]]:
    """Clips by split; the validation clips are taken out of train."""
    gopro, spikes = Path(params.gopro), Path(params.spikes)
    for folder, name in ((gopro, "--gopro"), (spikes, "--spikes")):
        if not folder.is_dir():
            raise DataError(f"{name} {folder} {missing(folder)}")
    config = DataConfig(root=params.gopro)
    names = [split for split in splits_in(gopro) if split in ("train", "val", "test")]
    if "train" not in names:
        raise DataError(f"--gopro {gopro} has no train split; it has: {splits_in(gopro)}")
    plan = {split: find_clips(config, split, spikes) for split in names}
    for clip in (clip for clips in plan.values() for clip in clips):
        if len(lacking := _incomplete(clip)) == len(clip.frames):
            raise DataError(f"{clip.folder}: no frame has all its files, first: {lacking[0]}")
    if "val" not in plan:
        plan["val"] = _take_validation(plan["train"], params)
    return {split: clips for split, clips in plan.items() if clips}


def _incomplete(clip: Clip) -> list[str]:
    """The frames that lack a file, in words."""
    return [
        f"{frame.blur} (no {'spike file' if frame.sharp else 'sharp picture'})"
        for frame in clip.frames
        if not is_complete(frame, voxels=False)
    ]


def _take_validation(train: list[Clip], params: PrepareParams) -> list[Clip]:
    """Move a random share of the clips, at least one, out of `train`."""
    count = max(1, round(params.val_ratio * len(train))) if params.val_ratio else 0
    if count >= len(train):
        raise DataError(f"{len(train)} train clips are too few to take {count} for validation")
    order = np.random.default_rng(params.seed).permutation(len(train))
    chosen = sorted(int(position) for position in order[:count])
    return [train.pop(position) for position in reversed(chosen)][::-1]


def _one_sensor(clips: list[Clip]) -> SpikeConfig:
    sensor = sensor_of(clips[0])
    for clip in clips:
        if sensor_of(clip) != sensor:
            raise DataError(f"{clip.folder}: another spike sensor than {clips[0].folder} has")
    return sensor


def _check_room(
    out: Path, params: PrepareParams, plan: dict[str, list[Clip]], sensor: SpikeConfig
) -> None:
    """Refuse to begin voxels that the disk cannot hold."""
    if params.voxels is None:
        return
    todo = [
        c for split, clips in plan.items() for c in clips if not (out / split / c.name).exists()
    ]
    frame_bytes = params.voxels * sensor.spike_h * sensor.spike_w * np.dtype(VOXEL_DTYPE).itemsize
    need, free = frame_bytes * sum(len(c.frames) for c in todo), shutil.disk_usage(out).free
    if need > free:
        raise DataError(
            f"{out}: the voxels need {need / 2**30:.1f} GiB and the disk has {free / 2**30:.1f} "
            "GiB free; without --voxels they are made while loading"
        )


def _place(split: Path, clip: Clip, params: PrepareParams) -> str:
    """Put one clip in its place; returns what was done."""
    target = split / clip.name
    if target.exists():
        return "already there"
    facts = check_clips([clip])
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(target) as folder:
        for name, source in _sources(clip).items():
            if params.copy:
                shutil.copytree(source, folder / name)
            else:
                (folder / name).symlink_to(source.resolve(), target_is_directory=True)
        if params.voxels is not None:
            _write_voxels(folder / "spike_vox", clip, params)
    lacking = _incomplete(clip)
    rest = f"; {len(lacking)} frames lack files, first: {lacking[0]}" if lacking else ""
    return f"{len(clip.frames)} frames; {facts.line()}{rest}"


def _sources(clip: Clip) -> dict[str, Path]:
    """Folders of a clip by their name in the unified tree."""
    frame = next(frame for frame in clip.frames if is_complete(frame, voxels=False))
    sources = {"blur": frame.blur.parent}
    if frame.sharp is not None and frame.spikes is not None:
        sources |= {"sharp": frame.sharp.parent, "spike": frame.spikes.parent}
    gamma = frame.blur.parent.with_name("blur_gamma")
    if gamma.is_dir():
        sources["blur_gamma"] = gamma
    return sources


def _write_voxels(folder: Path, clip: Clip, params: PrepareParams) -> None:
    sensor = sensor_of(clip)
    folder.mkdir()
    for frame in clip.frames:
        if frame.spikes is None or params.voxels is None:
            continue
        size = sensor.spike_h, sensor.spike_w
        stream = read_dat(frame.spikes, *size, byte_padded=sensor.byte_padded)
        made = voxelise(stream, params.voxels, mode=params.voxel_mode, theta=sensor.theta)
        np.save(folder / f"{frame.blur.stem}.npy", made.astype(VOXEL_DTYPE))


def _describe(out: Path, params: PrepareParams, sensor: SpikeConfig) -> None:
    """Write `config.yaml`: the sensor's, and how the voxels were made."""
    known = {key: value for key, value in dataclasses.asdict(sensor).items() if value is not None}
    values = {"filename": out.name, "is_labeled": False, "labeled_data_type": [0], **known}
    if params.voxels is not None:
        values |= {"voxel_bins": params.voxels, "voxel_mode": params.voxel_mode}
    write_spike_config(out, values)


def build_parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = argparse.ArgumentParser(
        prog="python -m vrtspike.data.prepare",
        description="Raw GoPro pictures and their spikes to one tree that the trainer reads.",
    )
    parser.add_argument("--gopro", type=Path, required=True, help="the folder GOPRO_Large")
    parser.add_argument("--spikes", type=Path, required=True, help="GOPRO_Large_spike_seq")
    parser.add_argument("--out", type=Path, required=True, help="the new data root (DATA.ROOT)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--symlink", action="store_true", help="link to the sources (default)")
    how.add_argument("--copy", action="store_true", help="copy the sources")
    parser.add_argument("--voxels", type=int, metavar="K", help="also store voxels of K bins")
    parser.add_argument("--voxel-mode", choices=("flat", "documented"), default="flat")
    parser.add_argument(
        "--fast-store", type=Path, metavar="STORE", help="also decode everything into a fast store"
    )
    parser.add_argument("--val-ratio", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="of the choice of validation clips")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    given = build_parser().parse_args(argv)
    try:
        params = PrepareParams(
            gopro=str(given.gopro.resolve()),
            spikes=str(given.spikes.resolve()),
            copy=given.copy,
            voxels=given.voxels,
            voxel_mode=given.voxel_mode,
            val_ratio=given.val_ratio,
            seed=given.seed,
        )
        if given.fast_store is not None:
            check_apart("--fast-store", given.fast_store, (given.gopro, given.spikes, given.out))
        prepare(given.out, params, print_line)
        if given.fast_store is not None:
            config = DataConfig(root=str(given.out))
            made = (config.train_split, config.val_split)
            splits = [split for split in made if (given.out / split).is_dir()]
            convert(config, given.fast_store, splits, print_line, threads=default_threads())
        print_line(f"{given.out}: ready; set DATA.ROOT to it")
        if given.fast_store is not None:
            print_line(f"{given.fast_store}: ready; set DATA.FAST_STORE to it")
    except (VRTSpikeError, OSError) as error:
        print_error(f"error: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
