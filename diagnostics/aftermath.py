"""What a machine still tells about a run that is over, as read now. Plain facts, judged nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class MemoryCounters:
    """What the kernel counted about memory that ran out, at one moment; None: it did not tell.

    `oom_kills` counts on the whole machine, `cgroup_oom_kills` the victims in the run's own group,
    whichever limit they died for. `limit_path` is the nearest group with a limit, `limit_hits` how
    often that was reached, `limit_ooms` how often nothing was left to give back (version 2).
    """

    at_unix_s: float
    moment: str
    boot_id: str | None = None
    oom_kills: int | None = None
    cgroup_version: int | None = None
    cgroup_path: str | None = None
    cgroup_id: int | None = None
    cgroup_oom_kills: int | None = None
    limit_path: str | None = None
    limit_bytes: int | None = None
    limit_hits: int | None = None
    limit_ooms: int | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class KernelKill:
    """One process that the kernel's OOM killer ended, by the kernel's own log.

    `scope` is whose memory had run out: the group's, the machine's, or "" where it is not said.
    `tasks` are what the kernel listed as candidates, by process id, in resident bytes.
    """

    at_unix_s: float | None
    pid: int
    name: str
    scope: str = ""
    group: str | None = None
    limit_group: str | None = None
    resident_bytes: int | None = None
    tasks: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """A run and the machine it ran on, looked at afterwards.

    `is_alive` says whether the run's process still runs; None: not this machine's to say.
    `counters` are those of the run's own group now, None with `unknown` saying why. `kills` come
    from `log_source`; where no log could be read, `log_problem` says why.
    """

    read_at_unix_s: float
    is_alive: bool | None = None
    counters: MemoryCounters | None = None
    kills: tuple[KernelKill, ...] = ()
    log_source: str | None = None
    log_problem: str | None = None
    unknown: tuple[str, ...] = ()
