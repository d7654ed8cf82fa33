"""One clip of a fast store: its decoded pictures and its spikes as plain bytes, in one file.

    header    4096 bytes: magic, where the index lies, its length and checksum
    arrays    bytes of one array after the other, each from the beginning of a page on
    index     JSON: of which file each array was made, where it lies, its shape and checksum

A file appears under its name only when it is whole, so it is there or it is not, whatever happens
to the process that writes it.
"""

import math
import os
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np

from vrtspike.data.cache_memory import whole_pages
from vrtspike.data.spike_stream import ByteArray
from vrtspike.errors import DataError

SUFFIX = ".frames"
BUILDING = ".building-"
"""Part of the names of files that are not whole yet."""
_MAGIC = b"vrtspk\x00\x01"
_HEADER = struct.Struct("<8sQQI")
_FIRST_BYTE = 4096
_MAX_INDEX_BYTES = 1 << 28
_MAX_DIMS = 4


class StoredArray(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One array of bytes, and the file that it was made of.

    `source` is that file's path, relative to the root of the data set; `source_bytes` and
    `source_mtime_ns` are those of the file when it was read. Of a file that could not be read
    there are no bytes: `fault` says why.
    """

    source: str
    source_bytes: int
    source_mtime_ns: int
    offset: int
    shape: tuple[int, ...]
    crc32: int
    fault: str = ""

    @property
    def num_bytes(self) -> int:
        """Length of the array."""
        return math.prod(self.shape)


def source_name(path: Path, root: Path) -> str:
    """The path relative to the root; what of it is no UTF-8, and so no JSON, as escapes."""
    return os.fsencode(os.path.relpath(path, root)).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class FileState:
    """A file that an array is made of, as it is now."""

    name: str
    num_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, root: Path) -> "FileState":
        """Look at a file; raises DataError if it is not there."""
        try:
            found = os.stat(path)  # noqa: PTH116 - one call, for every file of a data set
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        return cls(source_name(path, root), found.st_size, found.st_mtime_ns)

    @classmethod
    def seen(cls, path: Path, root: Path) -> "FileState":
        """As `of`; of a file that is not there size and time are -1."""
        try:
            return cls.of(path, root)
        except DataError:
            return cls(source_name(path, root), -1, -1)

    def made(self, array: StoredArray) -> bool:
        """Whether the array was made of the file as it is now."""
        then = array.source, array.source_bytes, array.source_mtime_ns
        return then == (self.name, self.num_bytes, self.mtime_ns)


class ClipFileWriter:
    """Writes a clip's file; it takes its name when the block ends well, and else is gone.

    Args:
        path: The name; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        prefix = f".{path.name}{BUILDING}"
        try:
            handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
        except OSError as error:
            raise DataError(f"{path.parent}: cannot write here: {error.strerror}") from error
        self._temporary = Path(name)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._arrays: list[StoredArray] = []
        self._end = _FIRST_BYTE

    def __enter__(self) -> "ClipFileWriter":
        return self

    def add(self, source: FileState, array: ByteArray) -> None:
        """Append an array.

        Raises:
            DataError: it cannot be written, for one because the disk is full.
        """
        data = np.ascontiguousarray(array).reshape(-1).data
        self._write(self._end, data)
        self._arrays.append(
            StoredArray(
                source=source.name,
                source_bytes=source.num_bytes,
                source_mtime_ns=source.mtime_ns,
                offset=self._end,
                shape=array.shape,
                crc32=zlib.crc32(data),
            )
        )
        self._end += whole_pages(len(data))

    def add_fault(self, source: FileState, fault: str) -> None:
        """Note that a file could not be read, and why."""
        self._arrays.append(
            StoredArray(
                source=source.name,
                source_bytes=source.num_bytes,
                source_mtime_ns=source.mtime_ns,
                offset=0,
                shape=(),
                crc32=0,
                fault=fault,
            )
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        index = msgspec.json.encode(self._arrays)
        self._write(self._end, memoryview(index))
        header = _HEADER.pack(_MAGIC, self._end, len(index), zlib.crc32(index))
        self._write(0, memoryview(header))
        try:
            os.fchmod(self._file.fileno(), 0o644)  # mkstemp's 0600 would hide it from colleagues
            os.fsync(self._file.fileno())
            self._temporary.replace(self._path)
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _write(self, start: int, data: memoryview) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._file.fileno(), data[done : done + (1 << 30)], start + done)
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written: {error.strerror}") from error


def read_index(path: Path) -> list[StoredArray]:
    """What a clip's file holds.

    Raises:
        DataError: it is missing or damaged, or of another version.
    """
    try:
        if path.is_fifo():  # it would be waited for
            raise DataError(f"{path}: not a clip of a fast store: it is a pipe")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size or not head.startswith(_MAGIC):
                raise DataError(f"{path}: not a clip of a fast store of this version")
            _, start, length, crc32 = _HEADER.unpack(head)
            if length > _MAX_INDEX_BYTES or start + length != size:
                raise DataError(f"{path}: cut short or damaged: {size} bytes")
            file.seek(start)
            index = file.read(length)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if zlib.crc32(index) != crc32:
        raise DataError(f"{path}: its index is damaged")
    try:
        arrays = msgspec.json.decode(index, type=list[StoredArray])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: its index cannot be read: {error}") from error
    for array in arrays:
        if not array.fault:
            _check_place(array, start, path)
            _check_shape(array, path)
    return arrays


def _check_place(array: StoredArray, end: int, path: Path) -> None:
    """An array lies between header and index."""
    is_sound = 1 <= len(array.shape) <= _MAX_DIMS and min(array.shape) > 0
    if not is_sound or array.offset < _FIRST_BYTE or array.offset + array.num_bytes > end:
        raise DataError(f"{path}: its index points outside the file, for {array.source}")


def _check_shape(array: StoredArray, path: Path) -> None:
    """A picture is (height, width, 3), spikes are (ticks, bytes of a tick)."""
    is_spikes = Path(array.source).suffix.lower() == ".dat"
    fits = len(array.shape) == 2 if is_spikes else array.shape[2:] == (3,)
    if not fits:
        what = "spikes" if is_spikes else "a picture"
        shape = "x".join(str(side) for side in array.shape)
        raise DataError(f"{path}: damaged: {array.source}: {shape} is no shape of {what}")


def damaged_arrays(path: Path, progress: Callable[[int], None]) -> Iterator[StoredArray]:
    """The arrays whose bytes are no longer those that were written.

    Args:
        path: A clip's file.
        progress: Hears how many bytes were checked.

    Raises:
        DataError: the file cannot be read at all.
    """
    arrays = read_index(path)
    try:
        with path.open("rb") as file:
            for array in arrays:
                if array.fault:
                    continue
                file.seek(array.offset)
                data = file.read(array.num_bytes)
                progress(len(data))
                if zlib.crc32(data) != array.crc32:
                    yield array
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
