"""Memory that all loading processes of a machine share, and that no process can leak.

It is a file without a name: the kernel frees it when the last process that has it open is gone,
however that process ended. Locks in it belong to processes and end with them.
"""

import contextlib
import errno
import fcntl
import math
import mmap
import os
import sys
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vrtspike.errors import DataError

PAGE_BYTES = mmap.PAGESIZE
_MOST_KEPT_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class MemoryAddress:
    """Where other processes of the same machine and user find the memory of `pid`."""

    pid: int
    descriptor: int
    num_bytes: int

    @property
    def path(self) -> Path:
        """The file, as Linux shows it to others."""
        return Path(f"/proc/{self.pid}/fd/{self.descriptor}")


class CacheMemory:
    """Bytes that a process, its children and others who are told the address read and write.

    A page costs memory once something was written to it, and none any more after `free`.

    Args:
        descriptor: An open file of `num_bytes`; closed with the object.
        num_bytes: Its length.

    Raises:
        OSError: the file cannot be mapped.
    """

    def __init__(self, descriptor: int, num_bytes: int) -> None:
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, num_bytes)
        weakref.finalize(self, os.close, descriptor).atexit = False
        self.num_bytes = num_bytes
        self._can_free = True
        disk = os.fstatvfs(descriptor)  # memory of the machine has no size there
        self._kept_free = kept_free_bytes(disk.f_blocks * disk.f_frsize)

    @classmethod
    def make(
        cls, num_bytes: int, folder: Path | None = None, *, kept_bytes: int = 0
    ) -> "CacheMemory":
        """New memory: of the machine, or a nameless file in `folder`.

        Args:
            num_bytes: Its length.
            folder: Where the file lies.
            kept_bytes: So much of its beginning has room from now on: a process that stores into
                a page for which a disk has none is killed by the system.

        Raises:
            OSError: the system has no such memory or no locks in it, or a limit of the process
                is smaller.
            DataError: the folder is none, or nothing can be written there.
        """
        if num_bytes > sys.maxsize:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        if folder is None:
            descriptor = os.memfd_create("vrtspike-cache", os.MFD_CLOEXEC)
        else:
            descriptor = _nameless_file(folder)
        try:
            os.ftruncate(descriptor, num_bytes)
            if kept_bytes:
                os.posix_fallocate(descriptor, 0, kept_bytes)
            _check_locks(descriptor)
            return cls(descriptor, num_bytes)
        except OSError:
            os.close(descriptor)
            raise

    @classmethod
    def attach(cls, address: MemoryAddress) -> "CacheMemory":
        """The memory that another process has made.

        Raises:
            OSError: that process cannot be reached from here (another user or container), or
                there are no addresses left for its memory.
        """
        descriptor = os.open(address.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            _check_size(descriptor, address)
            return cls(descriptor, address.num_bytes)
        except OSError:
            os.close(descriptor)
            raise

    @property
    def address(self) -> MemoryAddress:
        """For `attach` in another process."""
        return MemoryAddress(os.getpid(), self._descriptor, self.num_bytes)

    def words(self, start: int, *shape: int) -> NDArray[np.int64]:
        """A table of whole numbers that everybody sees and may change."""
        count = int(np.prod(shape))
        found = np.frombuffer(self._map, np.int64, count, start)
        return found.reshape(shape)

    def copied_words(self, num_bytes: int, start: int = 0) -> NDArray[np.int64]:
        """The beginning as it is now, or a later part; by the system: a failed disk is an error.

        Raises:
            OSError: it cannot be read.
        """
        found = os.pread(self._descriptor, num_bytes, start)
        if len(found) < num_bytes:
            raise OSError(errno.EIO, "the cache's file was cut short")
        return np.frombuffer(found, np.int64)

    def view(self, start: int, shape: tuple[int, ...], dtype: np.dtype) -> NDArray[np.generic]:
        """The bytes at `start` as an array that nobody may write to; no copy."""
        count = math.prod(shape)
        found = np.frombuffer(self._map, dtype, count, start).reshape(shape)
        found.flags.writeable = False
        return found

    def write(self, start: int, data: memoryview) -> None:
        """Writes bytes; by the system, so that a full disk is an error and not the end.

        Raises:
            OSError: there is no room, or too little of a disk would be left for others.
        """
        disk = os.fstatvfs(self._descriptor) if self._kept_free else None
        if disk is not None and disk.f_bavail * disk.f_frsize - len(data) < self._kept_free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done : done + (1 << 30)], start + done)

    def free(self, start: int, num_bytes: int) -> None:
        """Gives whole pages back; they read as zeros from now on."""
        if not self._can_free or not num_bytes:
            return
        try:
            self._map.madvise(mmap.MADV_REMOVE, start, num_bytes)
        except OSError:  # a file system without holes: the space is used again, not given back
            self._can_free = False

    @contextmanager
    def locked(self, place: int) -> Iterator[None]:
        """Holds the lock of that number, alone among the processes; ends with this process.

        Raises:
            OSError: the system gives none or takes none back; then this process holds no lock.
        """
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, place)
        try:
            yield
        finally:
            self.unlock(place)

    def try_lock(self, place: int) -> bool:
        """Takes the lock if no other process holds it, and the system has one to give."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True

    def unlock(self, place: int) -> None:
        """Gives a lock back.

        Raises:
            OSError: the system could not; then this process has given back all that it held.
        """
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)
        except OSError:
            # The kernel keeps neighbouring locks as one; to cut that in two takes memory, to
            # give back the whole takes none. A lock that stays would stop everybody else.
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
            raise


def _check_size(descriptor: int, address: MemoryAddress) -> None:
    if os.fstat(descriptor).st_size != address.num_bytes:
        raise OSError(f"{address.path}: not the memory that was announced")


def _check_locks(descriptor: int) -> None:
    """Raises OSError where a file system has no locks, as some network ones have none."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _nameless_file(folder: Path) -> int:
    try:
        with contextlib.suppress(OSError):  # a file system that makes no file without a name
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        descriptor, path = tempfile.mkstemp(prefix=".vrtspike-cache-", dir=folder)
        Path(path).unlink()
    except OSError as error:
        raise DataError(f"DATA.CACHE_DIR {folder}: {error.strerror}") from error
    return descriptor


def kept_free_bytes(disk_bytes: int) -> int:
    """What a cache leaves free of a disk, on which checkpoints may have to be saved."""
    return min(_MOST_KEPT_FREE_BYTES, disk_bytes // 10)


def whole_pages(num_bytes: int) -> int:
    """That many bytes, up to the end of the last page."""
    return -(-num_bytes // PAGE_BYTES) * PAGE_BYTES
