"""The processes of a training run, from /proc; needs no PyTorch."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

from vrtspike.profiling.process_files import (
    FileTraffic,
    Identity,
    ProcessReading,
    children,
    file_traffic,
    launched_rank,
    read_process,
    tells_children,
)
from vrtspike.profiling.pss_sweep import PssSweep, Sizes, SweepBudget
from vrtspike.profiling.records import ProcessRecord

_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)
_WORKER_MARKS = ("spawn_main", "--multiprocessing-fork")
_HELPER_MARKS = ("resource_tracker", "forkserver")


@dataclass(frozen=True, kw_only=True)
class TreeRoots:
    """Where the tree starts and who is who in it.

    `root_pid` is the trainer, or the launcher above the ranks of this machine; `main_pid` the
    trainer that asked; `sampler_pid` the process that samples.
    """

    root_pid: int
    main_pid: int
    sampler_pid: int | None = None


SCAN_EVERY_S = 10.0
"""A look at every process of the machine finds what threads other than the main one started."""

_SETTLES_S = 2.0  # until then a new process may still replace its program, and with it its role


@dataclass
class _Member:
    """A process of the tree and what was known of it at the last sample."""

    first_seen_s: float
    role: str
    rank: int | None = None
    cpu_s: float | None = None
    read_s: float = 0.0


class ProcessTree:
    """Reads a process tree again and again; remembers processes so that CPU use has a start.

    Args:
        roots: Where the tree starts.
        sweep: Reads the costly proportional memory; by default within its budget.
        now_s: A steady clock in seconds.
    """

    def __init__(
        self,
        roots: TreeRoots,
        sweep: PssSweep | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roots = roots
        self._sweep = sweep or PssSweep()
        self._now_s = now_s
        self._members: dict[Identity, _Member] = {}
        self._tells_children = tells_children()
        self._scans = SweepBudget(SCAN_EVERY_S)

    def sample(self, *, with_details: bool = True) -> tuple[ProcessRecord, ...]:
        """Every live process of the tree; a process that ends meanwhile is left out.

        PSS and its like are those of a sweep that ended since the last sample, else None.
        `with_details` reads what each has written, too.
        """
        sizes = self._sweep.take()
        readings = self._readings()
        self._members = {
            each.identity: self._members.get(each.identity) or self._new_member(each)
            for each in readings
        }
        records = tuple(self._record(each, sizes, with_details) for each in readings)
        self._sweep.offer([each.identity for each in readings], self._now_s())
        return records

    def close(self) -> None:
        """Waits for what is being read."""
        self._sweep.join()

    def _readings(self) -> list[ProcessReading]:
        """The known processes, their children, and at times whatever else is in the tree."""
        read: dict[int, ProcessReading] = {}
        for identity in self._members:
            known = read_process(identity.pid)
            # A recycled number is another process, which belongs here only if it is found anew.
            if known is not None and known.identity == identity:
                read[identity.pid] = known
        waiting = [self._roots.root_pid, *self._scanned()]
        waiting += [child for pid in read for child in children(pid)]
        while waiting:
            pid = waiting.pop()
            new = None if pid in read else read_process(pid)
            if new is not None:
                read[pid] = new
                waiting += children(pid)
        return [read[pid] for pid in sorted(read)]

    def _scanned(self) -> Iterable[int]:
        now_s = self._now_s()
        if self._tells_children and not self._scans.is_due(now_s):
            return ()
        start_ns = time.thread_time_ns()
        found = [process.pid for process in tree_processes(self._roots.root_pid)]
        self._scans.spent(now_s, (time.thread_time_ns() - start_ns) / 1e9)
        return found

    def _new_member(self, reading: ProcessReading) -> _Member:
        return _Member(
            first_seen_s=self._now_s(),
            role=self._role(reading),
            rank=launched_rank(reading.identity.pid),
        )

    def _record(self, reading: ProcessReading, sizes: Sizes, with_details: bool) -> ProcessRecord:
        member, now_s = self._members[reading.identity], self._now_s()
        if now_s - member.first_seen_s < _SETTLES_S:
            member.role = self._role(reading)
        percent = None
        if member.cpu_s is not None and now_s > member.read_s:
            percent = round(100 * (reading.cpu_s - member.cpu_s) / (now_s - member.read_s), 1)
        member.cpu_s, member.read_s = reading.cpu_s, now_s
        found = sizes.get(reading.identity)
        pid = reading.identity.pid
        traffic = file_traffic(pid) if with_details else FileTraffic()
        return ProcessRecord(
            pid=pid,
            role=member.role,
            name=reading.name,
            rss_bytes=reading.rss_bytes,
            shared_bytes=reading.shared_bytes,
            pss_bytes=found.pss_bytes if found else None,
            uss_bytes=found.uss_bytes if found else None,
            pss_shm_bytes=found.shm_bytes if found else None,
            swap_bytes=found.swap_bytes if found else None,
            written_bytes=traffic.written_bytes,
            storage_read_bytes=traffic.storage_read_bytes,
            rank=member.rank,
            cpu_percent=percent,
        )

    def _role(self, reading: ProcessReading) -> str:
        roots, pid = self._roots, reading.identity.pid
        if pid == roots.sampler_pid:
            return "sampler"
        if pid == roots.main_pid:
            return "main"
        if pid == roots.root_pid:
            return "other"
        if reading.parent_pid == roots.root_pid and roots.root_pid != roots.main_pid:
            return "main"
        try:
            return _child_role(psutil.Process(pid))
        except (*_GONE, psutil.AccessDenied):
            return "other"


def _child_role(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    if any(mark in command for mark in _HELPER_MARKS) or "resource_sampler" in command:
        return "other"
    if any(mark in command for mark in _WORKER_MARKS) or process.name() == "pt_data_worker":
        return "worker"
    parent = process.parent()
    # A forked loader worker keeps the command line of the trainer.
    forked = parent is not None and command != "" and command == " ".join(parent.cmdline())
    return "worker" if forked else "other"


def tree_processes(root_pid: int) -> list[psutil.Process]:
    """A process and all its descendants; empty when it is gone."""
    try:
        root = psutil.Process(root_pid)
        return [root, *root.children(recursive=True)]
    except _GONE:
        return []


def pss_bytes(process: psutil.Process) -> int | None:
    """Resident memory with each shared page counted 1/n times; None where unknown."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError, OSError):
        return None


def tree_resident_bytes(
    root_pid: int, *, pss: Callable[[psutil.Process], int | None] = pss_bytes
) -> int:
    """Resident memory of a process tree.

    Each shared page is counted once where the kernel tells PSS; otherwise RSS counts it in every
    process that maps it.

    Args:
        root_pid: The process at the top.
        pss: Reads one process; replaced in tests.
    """
    total = 0
    for process in tree_processes(root_pid):
        share = pss(process)
        total += share if share is not None else _rss_bytes(process)
    return total


def _rss_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
