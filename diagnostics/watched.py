"""What is read of a running training at one moment, again and again, while it is watched.

Plain facts. A value that could not be read is None; counters only grow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostics.analyses.machine_jobs import Role


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is watched: the topmost processes, which go on when the others have ended.

    `is_training` is False of a process that a user named and no run of ours tells of; `name` is
    what the system calls it then.
    """

    pids: tuple[int, ...] = ()
    is_training: bool = True
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class WatchedProcess:
    """One process of the training. `started` tells it from a later one with the same number.

    `own_bytes` is resident memory without pages of files and shared memory, `written_bytes` a
    counter of what was written to files of any kind.
    """

    pid: int
    started: int
    role: Role
    rank: int | None = None
    own_bytes: int | None = None
    shared_bytes: int | None = None
    written_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class WatchedGpu:
    """One GPU, with what all processes hold on it.

    `by_pid` is what those of the training hold; empty where the driver does not tell, or numbers
    them otherwise.
    """

    index: int
    util_percent: float | None = None
    used_bytes: int | None = None
    total_bytes: int | None = None
    by_pid: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Everything at one time. `at_s` is of a steady clock, `unix_s` of the wall's.

    `free_bytes` is what is left before the machine's or the container's end, `cache_bytes` what
    the kernel keeps of files and gives back on demand.
    """

    at_s: float
    unix_s: float
    processes: tuple[WatchedProcess, ...] = ()
    gpus: tuple[WatchedGpu, ...] = ()
    free_bytes: int | None = None
    limit_bytes: int | None = None
    cache_bytes: int | None = None
    shm_used_bytes: int | None = None
    swap_used_bytes: int | None = None
    disk_read_bytes: int | None = None
    disk_write_bytes: int | None = None
    own_cpu_s: float = 0.0
