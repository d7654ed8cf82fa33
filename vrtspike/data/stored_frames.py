"""A data set's arrays in a fast store: mapped into memory, so that only what is used is read.

The pages belong to the page cache of the machine: every process that reads them shares them, and
the system takes them back when memory is needed elsewhere.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vrtspike.data.file_errors import cannot_read
from vrtspike.data.layouts import Clip, is_complete
from vrtspike.data.loading_faults import LoadingFaultError
from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_stream import ByteArray
from vrtspike.data.store_file import SUFFIX, FileState, StoredArray, read_index
from vrtspike.errors import DataError

_AGAIN = "start it again"


def clip_file(folder: Path, split: str, clip: Clip) -> Path:
    """Where a store keeps a clip."""
    return folder / split / f"{clip.name}{SUFFIX}"


def source_files(clip: Clip) -> Iterator[Path]:
    """The files of a clip that a store holds, frame by frame."""
    for frame in clip.frames:
        yield from (path for path in (frame.blur, frame.sharp, frame.spikes) if path is not None)


def conversion_command(config: DataConfig, folder: Path) -> str:
    """The command that makes or completes a store for a configuration."""
    given = [f"--root {config.root} --out {folder}"]
    usual = DataConfig(root=config.root)
    splits = config.train_split, config.val_split
    if splits != (usual.train_split, usual.val_split):
        given.append(f"--splits {' '.join(splits)}")
    for flag, value, default in (
        ("--blur-dir", config.blur_dir, usual.blur_dir),
        ("--spike-dir", config.spike_dir, usual.spike_dir),
    ):
        if value != default:
            given.append(f"{flag} {value}")
    return f"python -m vrtspike.data.fast_store {' '.join(given)}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an array lies; `identity` is what the clip's file was when its index was read."""

    file: Path
    identity: tuple[int, ...]
    array: StoredArray


class StoredFrames:
    """Arrays by the path of the file that they were made of; every process maps for itself."""

    def __init__(self, places: dict[Path, _Place], folder: Path) -> None:
        self._places = places
        self._folder = folder
        self._maps: dict[Path, mmap.mmap] = {}
        self._views: dict[Path, ByteArray] = {}

    @classmethod
    def open(
        cls, folder: Path, config: DataConfig, split: str, clips: Sequence[Clip]
    ) -> "StoredFrames":
        """The store of a split, which must hold every complete frame as its files are now.

        Args:
            folder: `DATA.FAST_STORE`.
            config: `DATA`.
            split: Of the clips.
            clips: All that samples are made of.

        Raises:
            DataError: an array is missing, was made of an earlier version of its file, or the
                store is damaged; the line says how to convert again.
        """
        cure = f"convert with: {conversion_command(config, folder)}"
        if not folder.is_dir():
            raise DataError(f"DATA.FAST_STORE {folder} is no folder: {cure}")
        places: dict[Path, _Place] = {}
        for clip in clips:
            used = _used_files(clip, config)
            if used:
                file = clip_file(folder, split, clip)
                places |= _find(file, used, Path(config.root), cure)
        return cls(places, folder)

    def view(self, path: Path) -> ByteArray:
        """The array that was made of a file, read-only; its bytes are read when they are used.

        Raises:
            LoadingFaultError: the clip's file was replaced, cut short or lost after the run began.
        """
        place = self._places[path]
        mapped = self._maps.get(place.file)
        if mapped is None:
            mapped = self._maps[place.file] = _map(place)
        array = place.array
        # The system ends a process that touches pages beyond the end of the file, without a word.
        if mapped.size() < array.offset + array.num_bytes:
            raise LoadingFaultError(f"{place.file}: was cut short during the run: {_AGAIN}")
        known = self._views.get(path)
        if known is not None:
            return known
        found = np.frombuffer(mapped, np.uint8, array.num_bytes, array.offset)
        self._views[path] = found.reshape(array.shape)
        return self._views[path]

    def line(self) -> str:
        """What a person should know, in one line."""
        gib = sum(place.array.num_bytes for place in self._places.values()) / 2**30
        return (
            f"FAST_STORE {self._folder}: {len(self._places)} arrays, {gib:.2f} GiB, read through "
            "the page cache, which all processes share"
        )


def _used_files(clip: Clip, config: DataConfig) -> list[Path]:
    voxels = config.use_precomputed_voxels
    whole = [frame for frame in clip.frames if is_complete(frame, voxels=voxels)]
    wanted = [(frame.blur, frame.sharp, None if voxels else frame.spikes) for frame in whole]
    return [path for paths in wanted for path in paths if path is not None]


def _find(file: Path, used: Sequence[Path], root: Path, cure: str) -> dict[Path, _Place]:
    """Places of the arrays of one clip."""
    if not file.exists():
        raise DataError(f"{file}: the fast store lacks this clip; {cure}")
    try:
        identity, arrays = _identity(file), {each.source: each for each in read_index(file)}
    except DataError as error:
        raise DataError(f"{error}; delete it and {cure}") from error
    places = {}
    for path in used:
        now = FileState.of(path, root)
        array = arrays.get(now.name)
        if array is None or not now.made(array):
            what = "is not in the fast store" if array is None else "changed since its conversion"
            raise DataError(f"{path} {what} ({file}); {cure}")
        places[path] = _Place(file, identity, array)
    return places


def _identity(file: Path | int) -> tuple[int, ...]:
    found = os.stat(file)  # noqa: PTH116 - of a name or of an open file
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _map(place: _Place) -> mmap.mmap:
    """No sample is to blame for what goes wrong here, so none may be skipped for it."""
    try:
        with place.file.open("rb") as file:
            if _identity(file.fileno()) != place.identity:
                raise LoadingFaultError(f"{place.file}: was replaced during the run: {_AGAIN}")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        told = cannot_read(place.file, "fast store", error)
        raise LoadingFaultError(str(told)) from error
