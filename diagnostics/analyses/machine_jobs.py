"""Which processes are a training job, what each of them is for, and what the job holds."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, Protocol

from diagnostics.machine import ProcessState

Role = Literal["launcher", "main", "worker", "sampler", "other"]

TRAINER_MODULE = "vrtspike.train"
_LAUNCHERS = frozenset({"torchrun", "torch.distributed.run", "torch.distributed.launch"})
_WORKER_NAME = "pt_data_worker"  # what PyTorch calls a DataLoader worker's main thread
_SAMPLER_WORD = "sampler"
_SPAWNED = ("multiprocessing.spawn", "--multiprocessing-fork")


class Listed(Protocol):
    """What is needed of a process to find its place."""

    @property
    def pid(self) -> int: ...  # noqa: D102
    @property
    def parent_pid(self) -> int: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def command(self) -> tuple[str, ...]: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class Member:
    """A process of a job and its role."""

    role: Role
    process: ProcessState

    @property
    def memory_bytes(self) -> int | None:
        """PSS where it could be read, else RSS."""
        process = self.process
        return process.rss_bytes if process.pss_bytes is None else process.pss_bytes


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training job: its processes, largest first.

    `memory_bytes` sums PSS, in which a shared page counts once. Where any PSS is missing it sums
    RSS for that process, which counts shared pages again: then `is_upper_bound` is true.
    """

    root_pid: int
    members: tuple[Member, ...]

    @property
    def memory_bytes(self) -> int:
        """What the job holds, in bytes."""
        return sum(member.memory_bytes or 0 for member in self.members)

    @property
    def is_upper_bound(self) -> bool:
        """Whether shared pages may be counted more than once."""
        return any(member.process.pss_bytes is None for member in self.members)


def is_trainer(command: Sequence[str]) -> bool:
    """Whether a command line runs the trainer, itself or through a launcher."""
    if not command or not PurePath(command[0]).name.startswith(("python", "pypy", "torchrun")):
        return False
    return any(word == TRAINER_MODULE or word.endswith("vrtspike/train.py") for word in command)


def find_job_roots(processes: Iterable[Listed], recorded: Collection[int] = ()) -> tuple[int, ...]:
    """The topmost process of every training that runs, by process id.

    Args:
        processes: All there are.
        recorded: Those that a run's facts name; with them goes what started them for it.
    """
    by_pid = {process.pid: process for process in processes}
    trainers = {pid: p for pid, p in by_pid.items() if is_trainer(p.command)}
    for pid in recorded:
        process = by_pid.get(pid)
        while process is not None and process.pid not in trainers:
            trainers[process.pid] = process
            parent = by_pid.get(process.parent_pid)
            process = parent if parent and _started_for_it(parent, process) else None
    return tuple(
        sorted(pid for pid, process in trainers.items() if process.parent_pid not in trainers)
    )


def _started_for_it(parent: Listed, process: Listed) -> bool:
    """A launcher of ranks, or the program that this one was spawned or forked from."""
    is_spawned = any(mark in word for word in process.command for mark in _SPAWNED)
    is_launched = bool(_LAUNCHERS & {PurePath(word).name for word in parent.command})
    return is_launched or is_spawned or (parent.command == process.command != ())


def tree(root_pid: int, processes: Iterable[Listed]) -> tuple[int, ...]:
    """Process ids of the root and all that descend from it."""
    children: Mapping[int, list[int]] = defaultdict(list)
    for process in processes:
        children[process.parent_pid].append(process.pid)
    found, waiting = [], [root_pid]
    seen = set()
    while waiting:
        pid = waiting.pop()
        if pid in seen:
            continue
        seen.add(pid)
        found.append(pid)
        waiting += children.get(pid, [])
    return tuple(sorted(found))


def build_job(root_pid: int, states: Iterable[ProcessState]) -> Job:
    """The job of the given processes, which are the tree of `root_pid`."""
    by_pid = {state.pid: state for state in states}
    members = [
        Member(role=_role(state, root_pid, by_pid), process=state) for state in by_pid.values()
    ]
    members.sort(key=lambda member: (-(member.memory_bytes or 0), member.process.pid))
    return Job(root_pid=root_pid, members=tuple(members))


def _role(state: ProcessState, root_pid: int, by_pid: Mapping[int, ProcessState]) -> Role:
    if _LAUNCHERS & {PurePath(word).name for word in state.command}:
        return "launcher"
    if state.name == _WORKER_NAME:
        return "worker"
    if any(_SAMPLER_WORD in word for word in (state.name, *state.command)):
        return "sampler"
    parent = by_pid.get(state.parent_pid)
    if state.pid == root_pid or (parent is not None and _is_launcher(parent)):
        return "main"
    return "other"


def _is_launcher(state: ProcessState) -> bool:
    return bool(_LAUNCHERS & {PurePath(word).name for word in state.command})
