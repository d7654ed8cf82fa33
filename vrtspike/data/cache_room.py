"""What `DATA.CACHE_SIZE_GB` comes to on this machine: on a disk no more than it has room for."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from vrtspike.data.cache_memory import kept_free_bytes
from vrtspike.errors import DataError
from vrtspike.profiling.host_load import cgroup_memory

_GIB = 1 << 30


@dataclass(frozen=True)
class CacheRoom:
    """The budget of the machine in bytes, and what a person should know about it."""

    machine_bytes: int
    notes: tuple[str, ...] = ()


def cache_room(
    size_gb: float, folder: Path | None, gather: Callable[[Any], list[Any]] | None = None
) -> CacheRoom:
    """The budget; all ranks call it together, and get the same.

    Args:
        size_gb: `DATA.CACHE_SIZE_GB`, in GiB.
        folder: `DATA.CACHE_DIR`; None is memory.
        gather: Every rank's value, on every rank; None with one rank.

    Raises:
        DataError: the folder is none.
    """
    wanted = int(size_gb * _GIB)
    if not wanted:
        return CacheRoom(0, ("CACHE_SIZE_GB 0: nothing is kept between samples",))
    if folder is None:
        return CacheRoom(wanted, _memory_note(wanted))
    room = _disk_room(folder)
    found = min(gather(room) if gather is not None else [room])
    if found >= wanted:
        return CacheRoom(wanted)
    note = (
        f"WARNING: CACHE_DIR {folder} has room for {found / _GIB:.2f} GiB beside what is left free "
        f"on its disk for others: the cache takes that, not CACHE_SIZE_GB {size_gb:g}"
    )
    return CacheRoom(found, (note,))


def _disk_room(folder: Path) -> int:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        raise DataError(f"DATA.CACHE_DIR {folder}: {error.strerror}") from error
    return max(0, usage.free - kept_free_bytes(usage.total))


def _memory_note(wanted: int) -> tuple[str, ...]:
    total = psutil.virtual_memory().total
    limit = cgroup_memory(total)
    most = total if limit is None else min(total, limit.limit_bytes)
    if wanted <= most:
        return ()
    return (
        f"WARNING: CACHE_SIZE_GB {wanted / _GIB:g} is more than the {most / _GIB:.1f} GiB of "
        "memory here: with enough data the cache grows until the system kills the run "
        "(`python diagnose_memory.py --config` tells what fits)",
    )
