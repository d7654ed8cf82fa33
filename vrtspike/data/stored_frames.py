"""A data set's arrays in a fast store: mapped into memory, so that only what is used is read.

The pages belong to the page cache of the machine: every process that reads them shares them, and
the system takes them back when memory is needed elsewhere.
"""

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vrtspike.data.file_errors import cannot_read
from vrtspike.data.layouts import Clip, Frame, is_complete
from vrtspike.data.loading_faults import LoadingFaultError
from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_stream import ByteArray
from vrtspike.data.store_file import SUFFIX, FileState, StoredArray, read_index, source_name
from vrtspike.data.store_manifest import check_store, conversion_command
from vrtspike.errors import DataError

_AGAIN = "start it again"


def clip_file(folder: Path, split: str, clip: Clip) -> Path:
    """Where a store keeps a clip."""
    return folder / split / f"{clip.name}{SUFFIX}"


def source_files(clip: Clip) -> Iterator[Path]:
    """The files of a clip that a store holds, frame by frame."""
    for frame in clip.frames:
        yield from (path for path in (frame.blur, frame.sharp, frame.spikes) if path is not None)


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
        check_store(folder, config)
        cure = f"convert with: {conversion_command(config, folder)}"
        voxels = config.use_precomputed_voxels
        used = {clip_file(folder, split, c): used_files(c.frames, voxels=voxels) for c in clips}
        used = {file: paths for file, paths in used.items() if paths}
        lacking = [file for file in used if not os.path.lexists(file)]
        if lacking:
            raise DataError(
                f"{lacking[0]}: the fast store lacks {len(lacking)} of {len(used)} clips, first "
                f"this one: its conversion did not end, or it is of another data set; {cure}"
            )
        places: dict[Path, _Place] = {}
        for file, paths in used.items():
            places |= _find(file, paths, Path(config.root), cure)
        return cls(places, folder)

    def check(self, paths: Iterable[Path]) -> None:
        """Refuse files that were kept out; raises DataError with the first and their number."""
        faults = [line for path in dict.fromkeys(paths) if (line := self._fault(path))]
        if faults:
            raise DataError(
                f"{faults[0]}. {len(faults)} such files are kept out of DATA.FAST_STORE "
                f"{self._folder}: replace them and convert again, or DATA.BAD_SAMPLES=skip goes on "
                "without their samples"
            )

    def _fault(self, path: Path) -> str:
        fault = self._places[path].array.fault
        return f"{path}: {fault}" if fault else ""

    def view(self, path: Path) -> ByteArray:
        """The array that was made of a file, read-only; its bytes are read when they are used.

        Raises:
            LoadingFaultError: the clip's file was replaced, cut short or lost after the run began.
            DataError: the file was kept out, since it is damaged; as reading it would say.
        """
        place = self._places[path]
        if place.array.fault:
            raise DataError(self._fault(path))
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
        faults = [line for path in self._places if (line := self._fault(path))]
        whole = [place.array for place in self._places.values() if not place.array.fault]
        gib = sum(array.num_bytes for array in whole) / 2**30
        rest = f"; {len(faults)} damaged files are kept out, first: {faults[0]}" if faults else ""
        return (
            f"FAST_STORE {self._folder}: {len(whole)} arrays, {gib:.2f} GiB, read through "
            f"the page cache, which all processes share{rest}"
        )


def used_files(frames: Iterable[Frame], *, voxels: bool) -> list[Path]:
    """The files of whole frames that samples are made of; `voxels` as in `is_complete`."""
    whole = [frame for frame in frames if is_complete(frame, voxels=voxels)]
    wanted = [(frame.blur, frame.sharp, None if voxels else frame.spikes) for frame in whole]
    return [path for paths in wanted for path in paths if path is not None]


def _find(file: Path, used: Sequence[Path], root: Path, cure: str) -> dict[Path, _Place]:
    """Places of the arrays of one clip."""
    try:
        identity, arrays = _identity(file), {each.source: each for each in read_index(file)}
    except DataError as error:
        raise DataError(f"{error}; delete it and {cure}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; {cure}") from error
    places = {}
    for path in used:
        array = arrays.get(source_name(path, root))
        if array is None:
            raise DataError(f"{path} is not in the fast store ({file}); {cure}")
        now = FileState.seen(path, root) if array.fault else FileState.of(path, root)
        if not now.made(array):
            raise DataError(f"{path} {_difference(now, array)} ({file}); {cure}")
        places[path] = _Place(file, identity, array)
    return places


def _difference(now: FileState, array: StoredArray) -> str:
    if now.num_bytes == array.source_bytes:
        what = "was written at another time"
    else:
        what = f"has {now.num_bytes} bytes, then {array.source_bytes}"
    return (
        "changed since its conversion, or the fast store was made of another data set: the file "
        f"{what}"
    )


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
