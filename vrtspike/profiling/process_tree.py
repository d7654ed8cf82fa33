"""The processes of a training run, from /proc through psutil; needs no PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass

import psutil

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


class ProcessTree:
    """Reads a process tree again and again; remembers processes so that CPU use has a start."""

    def __init__(self, roots: TreeRoots) -> None:
        self._roots = roots
        self._known: dict[int, psutil.Process] = {}
        self._measured: set[int] = set()

    def sample(self, *, with_pss: bool = False) -> tuple[ProcessRecord, ...]:
        """Every live process of the tree; a process that ends meanwhile is left out."""
        processes = self._processes()
        records = (self._record(process, with_pss) for process in processes)
        return tuple(record for record in records if record is not None)

    def _processes(self) -> list[psutil.Process]:
        found = tree_processes(self._roots.root_pid)
        # Equality covers the creation time: a recycled pid is a new process.
        known = [
            old if (old := self._known.get(new.pid)) is not None and old == new else new
            for new in found
        ]
        self._measured &= {p.pid for p in known if self._known.get(p.pid) is p}
        self._known = {process.pid: process for process in known}
        return known

    def _record(self, process: psutil.Process, with_pss: bool) -> ProcessRecord | None:
        try:
            with process.oneshot():
                memory = process.memory_info()
                percent = process.cpu_percent(interval=None)
                role = self._role(process)
                name = process.name()
        except (*_GONE, psutil.AccessDenied):
            return None
        first = process.pid not in self._measured
        self._measured.add(process.pid)
        return ProcessRecord(
            pid=process.pid,
            role=role,
            name=name,
            rss_bytes=memory.rss,
            shared_bytes=getattr(memory, "shared", None),
            pss_bytes=pss_bytes(process) if with_pss else None,
            cpu_percent=None if first else percent,
        )

    def _role(self, process: psutil.Process) -> str:
        roots = self._roots
        if process.pid == roots.sampler_pid:
            return "sampler"
        if process.pid == roots.main_pid:
            return "main"
        if process.pid == roots.root_pid:
            return "other"
        if process.ppid() == roots.root_pid and roots.root_pid != roots.main_pid:
            return "main"
        return _child_role(process)


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
