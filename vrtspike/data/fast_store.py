"""Convert a data set to a fast store, once: decoded pictures and spikes as plain bytes on a disk.

    python -m vrtspike.data.fast_store --root data/processed/gopro_spike_unified --out STORE
    python -m vrtspike.data.fast_store --verify --out STORE

Decoding PNGs is nearly all that loading costs; `DATA.FAST_STORE: STORE` makes the loader read the
crops themselves from mapped memory. A clip appears in the store only when whole: a stopped
conversion goes on where it was, and one that is run again converts what has changed. A damaged
file ends it, or, with `--bad-samples skip`, is kept out: named, counted, and looked at again by the
next conversion.
"""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2

from vrtspike.data.atomic_files import check_apart, check_out_folder, claim_folder, folder_lock
from vrtspike.data.cache_memory import whole_pages
from vrtspike.data.contract import sensor_of
from vrtspike.data.damage import first_readable
from vrtspike.data.file_errors import check_plain
from vrtspike.data.frames import picture_size, read_rgb
from vrtspike.data.kept_out import KeptOut, fault_of
from vrtspike.data.layouts import Clip, find_clips
from vrtspike.data.loading_faults import LoadingFaultError
from vrtspike.data.settings import SPLIT_RULE, DataConfig, is_split_name
from vrtspike.data.spike_stream import MAX_DAT_BYTES, ByteArray, read_dat
from vrtspike.data.store_file import (
    BUILDING,
    SUFFIX,
    ClipFileWriter,
    FileState,
    damaged_arrays,
    read_index,
)
from vrtspike.data.store_manifest import FORMAT, MANIFEST
from vrtspike.data.stored_frames import clip_file, source_files
from vrtspike.data.workers import allowed_cores
from vrtspike.errors import DataError, VRTSpikeError
from vrtspike.standard_output import print_error, print_line

_MAX_THREADS = 8
"""Decoding scales with the cores, writing does not."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Job:
    """A clip that is yet to be converted; `num_bytes` is what its file will take."""

    file: Path
    name: str
    clip: Clip
    num_bytes: int


def convert(
    config: DataConfig, out: Path, splits: Sequence[str], say: Say, *, threads: int = 1
) -> None:
    """Bring the store at `out` up to date with the data set.

    Args:
        config: `DATA`; its root, folder names, and what it says of damaged files are used.
        out: The store.
        splits: What of the data set to convert.
        say: Called with a line for every clip.
        threads: That decode.

    Raises:
        DataError: the data set is broken, the disk has no room, or `out` is something else, or
            lies in the data set; or a split's name leads out of it.
    """
    for split in splits:
        if not is_split_name(split):
            raise DataError(f"--splits {SPLIT_RULE}, got {split!r}")
    check_out_folder(out)
    root = Path(config.root)
    check_apart("--out", out, [root])
    clips = [(split, clip) for split in dict.fromkeys(splits) for clip in find_clips(config, split)]
    check_apart("--out", out, {each for _, clip in clips for each in _folders(clip)})
    _refuse_twins(clips)
    files = sum(1 for _, clip in clips for _ in source_files(clip))
    kept_out = KeptOut(config.bad_samples, config.max_bad_share, files, say)
    with folder_lock(out):
        claim_folder(
            out / MANIFEST,
            FORMAT,
            other="is a store of another version",
            foreign="is not empty and no fast store",
        )
        for left in out.rglob(f".*{BUILDING}*"):
            left.unlink()
        jobs = [
            _Job(file, f"{split}/{clip.name}", clip, _stored_bytes(clip, config))
            for split, clip in clips
            if not _is_current(file := clip_file(out, split, clip), clip, root, kept_out)
        ]
        say(f"{len(clips) - len(jobs)} of {len(clips)} clips are there already")
        _check_room(out, jobs, say)
        with ThreadPoolExecutor(threads) as pool:
            for number, job in enumerate(jobs, 1):
                _convert_clip(job, root, (pool, threads), kept_out)
                say(f"{number}/{len(jobs)} {job.name}: {job.num_bytes / 2**20:.1f} MiB")
    if kept_out.count:
        say(kept_out.line())


def default_threads() -> int:
    """As many as there are cores, up to where the disk is the limit."""
    return min(_MAX_THREADS, allowed_cores())


def verify(out: Path, say: Say) -> bool:
    """Whether every byte of the store is still what was written; says which is not.

    Raises:
        DataError: `out` is no store.
    """
    if not (out / MANIFEST).is_file():
        raise DataError(f"--out {out} is no fast store: it has no {MANIFEST}")
    files, checked, damaged = sorted(out.rglob(f"*{SUFFIX}")), 0, 0
    kept_out: list[str] = []

    def count(num_bytes: int) -> None:
        nonlocal checked
        checked += num_bytes

    for file in files:
        try:
            kept_out += [f"{each.source}: {each.fault}" for each in read_index(file) if each.fault]
            broken = [array.source for array in damaged_arrays(file, count)]
            fault = (
                f"{file}: {len(broken)} arrays are damaged, first: {broken[0]}" if broken else ""
            )
        except DataError as error:
            fault = str(error)
        if fault:
            say(f"{fault}; delete the file and convert again")
        damaged += bool(fault)
    for line in kept_out:
        say(f"kept out, since the data set's own file is damaged: {line}")
    say(f"{len(files)} clips, {checked / 2**30:.2f} GiB checked, {damaged} damaged")
    return not damaged


def _refuse_twins(clips: Sequence[tuple[str, Clip]]) -> None:
    names = Counter((split, clip.name) for split, clip in clips)
    for split, clip in clips:
        if names[split, clip.name] > 1:
            raise DataError(f"{clip.folder}: split {split!r} has two clips of this name")


def _folders(clip: Clip) -> set[Path]:
    """Where the clip's files lie, whatever links lead there."""
    return {clip.folder, *(path.parent for path in source_files(clip))}


def _is_current(file: Path, clip: Clip, root: Path, kept_out: KeptOut) -> bool:
    """Whether the clip's file holds exactly what would be written now; counts what it keeps out."""
    try:
        arrays = {each.source: each for each in read_index(file)}
    except DataError:  # not there yet, or damaged
        return False
    now = {path: FileState.seen(path, root) for path in source_files(clip)}
    if len(now) != len(arrays) or not all(
        state.name in arrays and state.made(arrays[state.name]) for state in now.values()
    ):
        return False
    faults = {path: arrays[state.name].fault for path, state in now.items()}
    faults = {path: fault for path, fault in faults.items() if fault}
    # A file can be readable again without a change to it, for one by its permissions.
    for path, fault in faults.items():
        found = _read(path, clip, root)[1]
        if not isinstance(found, str) or found != fault:
            return False
    for path, fault in faults.items():
        kept_out.add(path, fault)
    return True


def _stored_bytes(clip: Clip, config: DataConfig) -> int:
    """What the clip takes, if its pictures are all of the first one's size."""
    try:
        _, (height, width) = first_readable(
            clip.frames, lambda frame: picture_size(frame.blur), config.bad_samples
        )
    except LoadingFaultError:
        raise
    except DataError:  # the conversion says of each what is wrong with it
        height = width = 0
    total, root = 0, Path(config.root)
    for frame in clip.frames:
        pictures = 1 + (frame.sharp is not None)
        total += pictures * whole_pages(height * width * 3)
        if frame.spikes is not None:
            size = FileState.seen(frame.spikes, root).num_bytes
            total += whole_pages(size) if 0 < size <= MAX_DAT_BYTES else 0
    return total


def _check_room(out: Path, jobs: Sequence[_Job], say: Say) -> None:
    need, free = sum(job.num_bytes for job in jobs), shutil.disk_usage(out).free
    room = f"{need / 2**30:.2f} GiB to write, {free / 2**30:.2f} GiB free on the disk of {out}"
    if need > free:
        raise DataError(f"{room}: choose another --out, or fewer --splits")
    if jobs:
        say(room)


def _convert_clip(
    job: _Job, root: Path, pool: tuple[ThreadPoolExecutor, int], kept_out: KeptOut
) -> None:
    """Write a clip's file; a few files are read ahead, no more, so that memory stays small."""
    readers, threads = pool
    paths = list(source_files(job.clip))
    job.file.parent.mkdir(parents=True, exist_ok=True)
    with ClipFileWriter(job.file) as writer:
        for group in _groups(paths, 2 * threads):
            read = readers.map(lambda path: _read(path, job.clip, root), group)
            for path, (state, found) in zip(group, read, strict=True):
                if isinstance(found, str):
                    kept_out.add(path, found)
                    writer.add_fault(state, found)
                else:
                    writer.add(state, found)


def _groups(paths: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def _read(path: Path, clip: Clip, root: Path) -> tuple[FileState, ByteArray | str]:
    """What is stored of one file, or why nothing is, and the state of the file at that."""
    before = FileState.seen(path, root)
    is_spikes = path.suffix.lower() == ".dat"
    sensor = sensor_of(clip) if is_spikes else None
    found: ByteArray | str
    try:
        if sensor is None:
            found = read_rgb(path)
        else:
            check_plain(path, "spike file")
            size = sensor.spike_h, sensor.spike_w
            found = read_dat(path, *size, byte_padded=sensor.byte_padded).packed
    except LoadingFaultError:
        raise
    except DataError as error:
        found = fault_of(path, error)
    if FileState.seen(path, root) != before:
        raise DataError(f"{path}: changed while it was converted; start the conversion again")
    return before, found


def build_parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    usual = DataConfig(root="")
    parser = argparse.ArgumentParser(
        prog="python -m vrtspike.data.fast_store",
        description="Decode a data set once; DATA.FAST_STORE makes the trainer read the result.",
    )
    parser.add_argument("--root", type=Path, help="the data set (DATA.ROOT)")
    parser.add_argument("--out", type=Path, required=True, help="the store (DATA.FAST_STORE)")
    parser.add_argument(
        "--splits",
        nargs="+",
        default=[usual.train_split, usual.val_split],
        help="default: %(default)s",
    )
    parser.add_argument("--blur-dir", choices=("blur", "blur_gamma"), default=usual.blur_dir)
    parser.add_argument("--spike-dir", default=usual.spike_dir, help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="that decode; default: the cores, at most 8")
    parser.add_argument(
        "--bad-samples",
        choices=("stop", "skip"),
        default=usual.bad_samples,
        help="at a damaged file, or keep it out of the store as DATA.BAD_SAMPLES does",
    )
    parser.add_argument(
        "--max-bad-share",
        type=float,
        default=usual.max_bad_share,
        help="of all files that may be kept out; default: %(default)s",
    )
    parser.add_argument(
        "--verify", action="store_true", help="convert nothing, check every byte of the store"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; the exit code is 1 if the store is damaged, 2 for an error, 130 if stopped."""
    parser = build_parser()
    given = parser.parse_args(argv)
    if given.root is None and not given.verify:
        parser.error("--root is needed to convert")
    if not 0 <= given.max_bad_share < 1:
        parser.error("--max-bad-share needs a number from 0 on, below 1")
    if given.threads is not None and given.threads < 1:
        parser.error("--threads needs a number from 1 on")
    cv2.setNumThreads(0)
    try:
        if given.verify:
            return 0 if verify(given.out, print_line) else 1
        config = DataConfig(
            root=str(given.root),
            blur_dir=given.blur_dir,
            spike_dir=given.spike_dir,
            bad_samples=given.bad_samples,
            max_bad_share=given.max_bad_share,
        )
        threads = given.threads or default_threads()
        convert(config, given.out, given.splits, print_line, threads=threads)
        print_line(f"{given.out}: ready; set DATA.FAST_STORE to it")
    except (VRTSpikeError, OSError) as error:
        print_error(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        print_error("stopped; the same command goes on with the clip that it was at")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
