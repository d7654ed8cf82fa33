"""A process read again and again: two or three small files of /proc, no page tables walked."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from diagnostics.parsers.machine_files import read_small, read_table

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_STARTED = 19  # of the fields after the name


@dataclass(frozen=True, kw_only=True)
class ProcessReading:
    """`started` is in ticks since the machine's start: two processes of a number differ in it.

    `own_bytes` is resident memory without pages of files and shared memory; `written_bytes` a
    counter of what was written to files of any kind.
    """

    pid: int
    started: int
    own_bytes: int | None
    shared_bytes: int | None
    written_bytes: int | None


def read_process(pid: int, root: Path = Path("/")) -> ProcessReading | None:
    """The process now; None when it has ended or is a zombie."""
    folder = root / "proc" / str(pid)
    stat, statm = read_small(folder / "stat"), read_small(folder / "statm")
    if stat is None or statm is None:
        return None if (root / "proc" / "self").exists() else _through_psutil(pid)
    # "pid (name) state ppid ...", and the name itself may hold parentheses and spaces.
    fields, sizes = stat.rpartition(")")[2].split(), statm.split()
    is_whole = len(fields) > _STARTED and fields[_STARTED].isdigit() and len(sizes) >= 3
    if not is_whole or fields[0] in "ZX" or not all(word.isdigit() for word in sizes[:3]):
        return None
    resident, shared = int(sizes[1]) * _PAGE_BYTES, int(sizes[2]) * _PAGE_BYTES
    return ProcessReading(
        pid=pid,
        started=int(fields[_STARTED]),
        own_bytes=max(0, resident - shared),
        shared_bytes=shared,
        written_bytes=_counter(folder / "io", "wchar:"),
    )


def _counter(path: Path, name: str) -> int | None:
    return read_table(path).get(name)


def _through_psutil(pid: int) -> ProcessReading | None:
    try:
        process = psutil.Process(pid)
        return ProcessReading(
            pid=pid,
            started=int(process.create_time()),
            own_bytes=process.memory_info().rss,
            shared_bytes=None,
            written_bytes=None,
        )
    except psutil.Error:
        return None
