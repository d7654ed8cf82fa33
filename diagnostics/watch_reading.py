"""Reads the training that runs again and again: the part of `--watch` that opens files."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostics.analyses.machine_capacity import capacity
from diagnostics.analyses.machine_jobs import Role, build_job, find_job_roots, tree
from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.machine import ProcessState
from diagnostics.parsers.disk_counters import read_disk_counters
from diagnostics.parsers.machine import HostSources, read_host
from diagnostics.parsers.machine_gpus import GpuDriver
from diagnostics.parsers.machine_processes import ProcessEntry, list_processes, read_rank
from diagnostics.parsers.process_readings import ProcessReading, read_process
from diagnostics.parsers.running_runs import running_pids
from diagnostics.watched import Moment, Subject, WatchedGpu, WatchedProcess

SCAN_EVERY_S = 5.0
"""A look at every process of the machine finds those that the training has started since."""


@dataclass(frozen=True)
class _Member:
    started: int
    role: Role
    rank: int | None


@dataclass(frozen=True, kw_only=True)
class WatchClocks:
    """Times in seconds: a steady clock, the wall's, and the CPU time of this process."""

    steady_s: Callable[[], float] = time.monotonic
    unix_s: Callable[[], float] = time.time
    cpu_s: Callable[[], float] = time.process_time


class WatchReader:
    """Reads the trainings that run when it is made, or the one that `pid` belongs to.

    `subject` says what it found.

    Args:
        pid: A process of the training.
        profiles_dir: Runs that say which processes are theirs.
        sources: Where the machine is read.
        nvml: A module with the interface of `pynvml`; None imports the installed one.
        clocks: The clocks.

    Raises:
        DiagnosticsError: no training runs, or there is no process `pid`.
    """

    def __init__(
        self,
        pid: int | None = None,
        profiles_dir: Path | None = None,
        sources: HostSources | None = None,
        nvml: Any | None = None,
        clocks: WatchClocks | None = None,
    ) -> None:
        self._sources = sources or HostSources()
        self._clocks = clocks or WatchClocks()
        entries = list_processes(self._sources.root)
        self.subject = _find(pid, entries, profiles_dir)
        self._roots = {each: _started(self._read(each)) for each in self.subject.pids}
        self._members: dict[int, _Member] = {}
        self._scan_due_s = 0.0
        self._gpus = GpuDriver(nvml)

    def read(self) -> Moment:
        """Everything now; without a process the training has ended."""
        at_s = self._clocks.steady_s()
        if at_s >= self._scan_due_s:
            self._scan()
            self._scan_due_s = at_s + SCAN_EVERY_S
        host = read_host(self._sources)
        room = capacity(host)
        disks = read_disk_counters(self._sources.root)
        return Moment(
            at_s=at_s,
            unix_s=self._clocks.unix_s(),
            processes=self._processes(),
            gpus=self._read_gpus(),
            free_bytes=room.available_bytes,
            limit_bytes=room.memory_limit_bytes,
            cache_bytes=host.page_cache_bytes,
            shm_used_bytes=host.shm_used_bytes,
            swap_used_bytes=host.swap_used_bytes,
            disk_read_bytes=None if disks is None else disks[0],
            disk_write_bytes=None if disks is None else disks[1],
            own_cpu_s=self._clocks.cpu_s(),
        )

    def steady_s(self) -> float:
        """The clock of the moments' `at_s`."""
        return self._clocks.steady_s()

    def close(self) -> None:
        """Lets go of the GPUs' driver."""
        self._gpus.close()

    def _read(self, pid: int) -> ProcessReading | None:
        return read_process(pid, self._sources.root)

    def _scan(self) -> None:
        entries = list_processes(self._sources.root)
        found: dict[int, _Member] = {}
        for root in self._roots:
            pids = set(tree(root, entries))
            states = [_state(each, self._sources.root) for each in entries if each.pid in pids]
            for member in build_job(root, states).members:
                process = member.process
                started = _started(self._read(process.pid))
                if started is not None:
                    found[process.pid] = _Member(started, member.role, process.rank)
        self._members = found

    def _processes(self) -> tuple[WatchedProcess, ...]:
        """None once every root has ended: what outlives it is not trained with any more."""
        if not any(_started(self._read(pid)) == begun for pid, begun in self._roots.items()):
            return ()
        found = []
        for pid, member in self._members.items():
            reading = self._read(pid)
            if reading is not None and reading.started == member.started:
                found.append(
                    WatchedProcess(
                        pid=pid,
                        started=member.started,
                        role=member.role,
                        rank=member.rank,
                        own_bytes=reading.own_bytes,
                        shared_bytes=reading.shared_bytes,
                        written_bytes=reading.written_bytes,
                    )
                )
        return tuple(found)

    def _read_gpus(self) -> tuple[WatchedGpu, ...]:
        return tuple(
            WatchedGpu(
                index=gpu.index,
                util_percent=gpu.util_percent,
                used_bytes=gpu.memory_used_bytes,
                total_bytes=gpu.memory_total_bytes,
                by_pid={
                    each.pid: each.used_bytes
                    for each in gpu.processes or ()
                    if each.pid in self._members and each.used_bytes is not None
                },
            )
            for gpu in self._gpus.read().gpus
        )


def _find(pid: int | None, entries: tuple[ProcessEntry, ...], profiles_dir: Path | None) -> Subject:
    recorded = running_pids(profiles_dir) if profiles_dir is not None else frozenset()
    roots = find_job_roots(entries, recorded)
    if pid is None:
        if not roots:
            raise DiagnosticsError(
                "--watch: no training runs on this machine; start it first, or name a process of "
                "it: --pid N"
            )
        return Subject(pids=roots)
    names = {entry.pid: entry.name for entry in entries}
    if pid not in names:
        raise DiagnosticsError(say("--pid {pid}: no such process on this machine", pid=pid))
    mine = tuple(each for each in roots if pid in tree(each, entries))
    return Subject(pids=mine) if mine else Subject(pids=(pid,), is_training=False, name=names[pid])


def _started(reading: ProcessReading | None) -> int | None:
    return None if reading is None else reading.started


def _state(entry: ProcessEntry, root: Path) -> ProcessState:
    """What tells a process's role; its memory is read elsewhere."""
    return ProcessState(
        pid=entry.pid,
        parent_pid=entry.parent_pid,
        name=entry.name,
        command=entry.command,
        rank=read_rank(entry.pid, root),
    )
