"""One process, read from /proc in two small files; needs no PyTorch."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from vrtspike.profiling.kernel_files import number, read_small, table

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_HAS_PROC = Path("/proc/self/statm").exists()
_AFTER_NAME = {"parent": 1, "utime": 11, "stime": 12, "start": 19}


class Identity(NamedTuple):
    """A process, also after its number was given to another one."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """What /proc tells about a process at a moment; `cpu_s` is its CPU time so far."""

    identity: Identity
    parent_pid: int
    name: str
    cpu_s: float
    rss_bytes: int
    shared_bytes: int | None


def read_process(pid: int) -> ProcessReading | None:
    """The process now; None when it has ended, or is a zombie that holds no memory."""
    if not _HAS_PROC:
        return _read_through_psutil(pid)
    stat, statm = read_small(f"/proc/{pid}/stat"), read_small(f"/proc/{pid}/statm")
    if not stat or not statm:
        return None
    # The name stands in brackets and may itself hold brackets and spaces.
    head, _, tail = stat.rpartition(") ")
    fields = tail.split()
    if len(fields) <= _AFTER_NAME["start"] or fields[0] in "ZX":
        return None
    parent, utime, stime, start = (int(fields[place]) for place in _AFTER_NAME.values())
    _, resident, shared = (int(word) for word in statm.split()[:3])
    return ProcessReading(
        identity=Identity(pid, start),
        parent_pid=parent,
        name=head.partition("(")[2],
        cpu_s=(utime + stime) / _TICKS_PER_S,
        rss_bytes=resident * _PAGE_BYTES,
        shared_bytes=shared * _PAGE_BYTES,
    )


def _read_through_psutil(pid: int) -> ProcessReading | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            cpu, memory = process.cpu_times(), process.memory_info()
            return ProcessReading(
                identity=Identity(pid, round(process.create_time() * _TICKS_PER_S)),
                parent_pid=process.ppid(),
                name=process.name(),
                cpu_s=cpu.user + cpu.system,
                rss_bytes=memory.rss,
                shared_bytes=getattr(memory, "shared", None),
            )
    except psutil.Error:
        return None


def children(pid: int) -> list[int]:
    """Processes that the main thread of a process has started; other threads' are not among them.

    Costs a hundredth of a look at every process of the machine.
    """
    text = read_small(f"/proc/{pid}/task/{pid}/children") or ""
    return [found for word in text.split() if (found := number(word)) is not None]


def tells_children() -> bool:
    """Whether this kernel lists a process's children."""
    return read_small(f"/proc/self/task/{os.getpid()}/children") is not None


class ProportionalSizes(NamedTuple):
    """Memory with each shared page divided among its users, and memory nobody else has.

    `shm_bytes` is the part of the first in shared memory; older kernels do not tell it.
    """

    pss_bytes: int
    uss_bytes: int
    shm_bytes: int | None = None
    swap_bytes: int | None = None


def proportional_sizes(pid: int) -> ProportionalSizes | None:
    """The sizes of a process; None where the kernel does not tell them.

    The kernel walks every page table of the process: milliseconds for a large one.
    """
    sizes_kib = table(read_small(f"/proc/{pid}/smaps_rollup"))
    if "Pss" not in sizes_kib:
        return None
    own_kib = sizes_kib.get("Private_Clean", 0) + sizes_kib.get("Private_Dirty", 0)
    own_kib += sizes_kib.get("Private_Hugetlb", 0)
    return ProportionalSizes(
        pss_bytes=sizes_kib["Pss"] * 1024,
        uss_bytes=own_kib * 1024,
        shm_bytes=_bytes(sizes_kib.get("Pss_Shmem")),
        swap_bytes=_bytes(sizes_kib.get("Swap")),
    )


class FileTraffic(NamedTuple):
    """Counters of a process; None where the kernel does not tell them.

    `written_bytes` went to files of any kind, also to those in memory; `storage_read_bytes` came
    from a disk or a server, and not from what the kernel keeps of files.
    """

    written_bytes: int | None = None
    storage_read_bytes: int | None = None


def file_traffic(pid: int) -> FileTraffic:
    """What a process has written and read so far."""
    counters = table(read_small(f"/proc/{pid}/io"))
    return FileTraffic(counters.get("wchar"), counters.get("read_bytes"))


def launched_rank(pid: int) -> int | None:
    """The rank that a launcher gave to a process, and so to those it started."""
    for word in (read_small(f"/proc/{pid}/environ") or "").split("\0"):
        name, _, value = word.partition("=")
        if name == "RANK":
            return number(value)
    return None


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024
