"""Who ended a run that could say nothing, or one of its processes: the kernel, or somebody else.

The kernel's OOM killer leaves counters behind: of the machine, and of the control group that the
victim was in. A person who sends SIGKILL leaves neither. Both a group's own limit and the machine's
end raise the group's count of victims; what was reached tells them apart. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from diagnostics.aftermath import KernelKill, MemoryCounters
from diagnostics.analyses.last_processes import LastProcesses, last_processes
from diagnostics.analyses.oom_counters import END, GONE, recorded_counters
from diagnostics.language import say
from diagnostics.run import Run

Killer = Literal["oom_killer", "perhaps_oom_killer", "not_oom_killer", "unknown"]
Memory = Literal["group", "machine"]
Victim = Literal["trainer", "loader", "unknown"]

NEAR_LIMIT = 0.97
"""Of the limit: a group whose peak came so near has met it; the kernel counts in batches."""


@dataclass(frozen=True, kw_only=True)
class Rise:
    """A counter before and after; None: not known then."""

    name: str
    before: int | None
    after: int | None

    @property
    def grown(self) -> int | None:
        """What it grew by; a counter that fell has begun anew and tells nothing."""
        if self.before is None or self.after is None or self.after < self.before:
            return None
        return self.after - self.before


@dataclass(frozen=True, kw_only=True)
class KillAccount:
    """What became of a run's processes, and on what grounds.

    `killer` "oom_killer" is certain, "perhaps_oom_killer" rests on signs. `memory` is whose had run
    out, where that is known. It happened between `after_unix_s` and `before_unix_s`, or exactly
    at `at_unix_s` by the kernel's log, whose `kills` are those of this run. `elsewhere` counts
    victims of the same time that were not of this run's group. `is_gone`: the trainer is known to
    run no more, whichever process was the victim. `reasons` say what could not be known.
    """

    killer: Killer
    victim: Victim
    memory: Memory | None = None
    host: str | None = None
    at_unix_s: float | None = None
    after_unix_s: float | None = None
    before_unix_s: float | None = None
    is_gone: bool = False
    count: int | None = None
    elsewhere: int | None = None
    rises: tuple[Rise, ...] = ()
    kills: tuple[KernelKill, ...] = ()
    last: LastProcesses | None = None
    counters: MemoryCounters | None = None
    log_source: str | None = None
    log_problem: str | None = None
    reasons: tuple[str, ...] = ()


def compute_kill_account(run: Run) -> KillAccount | None:
    """None for a run that ended by itself and lost no process, or that may still be running."""
    aftermath = run.aftermath
    if aftermath is not None and aftermath.is_alive:
        return None
    by_machine = recorded_counters(run) or {run.info.host or "": ()}
    is_gone = run.info.status in ("running", None) and (
        _says_gone(by_machine.values()) or (aftermath is not None and aftermath.is_alive is False)
    )
    lost_loader = _lost_loader(run)
    accounts = [
        _of_machine(run, host, counters, is_gone, lost_loader)
        for host, counters in by_machine.items()
    ]
    found = [each for each in accounts if each.killer in ("oom_killer", "perhaps_oom_killer")]
    if found:
        return found[0]
    if is_gone or lost_loader:
        own = [each for each in accounts if each.host == run.info.host]
        victim: Victim = "trainer" if is_gone else "loader"
        return next(
            iter(own or accounts),
            KillAccount(killer="unknown", victim=victim, is_gone=is_gone),
        )
    return None


def _says_gone(machines: Iterable[Sequence[MemoryCounters]]) -> bool:
    return any(each.moment == GONE for counters in machines for each in counters)


def _lost_loader(run: Run) -> bool:
    events = run.tables.events
    died = events.loc[events["name"] == "loading_process_died", "values"]
    return any(values.get("signal") == "Killed" for values in died)


def _of_machine(
    run: Run, host: str, counters: Sequence[MemoryCounters], is_gone: bool, lost_loader: bool
) -> KillAccount:
    aftermath = run.aftermath
    is_own = host in (_first_host(run), run.info.host)
    later = aftermath.counters if aftermath is not None and is_own else None
    # What the sampler wrote when the trainer had gone is nearer to it than what is read today.
    is_closed = any(each.moment in (END, GONE) for each in counters)
    known = tuple(counters) if later is None or is_closed else (*counters, later)
    rises = _rises(known)
    pids = _pids(run, host)
    kills = tuple(
        kill
        for kill in (aftermath.kills if aftermath is not None else ())
        if kill.pid in pids and _of_this_run(kill, known)
    )
    victim = _victim(kills, run, is_gone, lost_loader)
    until_s = kills[0].at_unix_s if kills else None
    is_final = any(each.moment in (END, GONE, "now") for each in known)
    last = last_processes(run, host, until_s)
    killer = _killer(kills, rises, is_final, last)
    after_s, before_s = _between(run, host, last, known)
    return KillAccount(
        killer=killer,
        victim=victim,
        memory=_memory(kills, rises, known) if killer == "oom_killer" else None,
        host=host,
        at_unix_s=until_s,
        after_unix_s=after_s,
        before_unix_s=before_s,
        is_gone=is_gone,
        count=len(kills) or rises[0].grown,
        elsewhere=_elsewhere(rises),
        rises=rises,
        kills=kills,
        last=last,
        counters=_with_limit(known),
        log_source=aftermath.log_source if aftermath else None,
        log_problem=aftermath.log_problem if aftermath else None,
        reasons=() if is_closed else _reasons(run, is_final),
    )


def _first_host(run: Run) -> str:
    """The machine of rank 0, whose meta.json names it; with one machine, that one."""
    hosts = list(recorded_counters(run))
    return run.info.host if run.info.host in hosts else (hosts[0] if hosts else "")


def _pids(run: Run, host: str) -> set[int]:
    rows = run.tables.processes
    seen = {int(pid) for pid in rows.loc[rows["host"] == host, "pid"].unique()}
    return seen | ({run.info.pid} if run.info.pid else set())


def _of_this_run(kill: KernelKill, known: Sequence[MemoryCounters]) -> bool:
    """A process number may be used again: what ended before the run began is another one."""
    return not known or kill.at_unix_s is None or kill.at_unix_s >= known[0].at_unix_s - 1.0


def _rises(known: Sequence[MemoryCounters]) -> tuple[Rise, ...]:
    """Victims in the group, on the machine; limit reached, and nothing left to give back."""
    names = ("cgroup_oom_kills", "oom_kills", "limit_hits", "limit_ooms")
    return tuple(_rise(name, [getattr(each, name) for each in known]) for name in names)


def _rise(name: str, values: Sequence[int | None]) -> Rise:
    told = [value for value in values if value is not None]
    if not told:
        return Rise(name=name, before=None, after=None)
    return Rise(name=name, before=told[0], after=told[-1] if len(told) > 1 else None)


def _killer(
    kills: Sequence[KernelKill], rises: Sequence[Rise], is_final: bool, last: LastProcesses | None
) -> Killer:
    in_group, on_machine = rises[0].grown, rises[1].grown
    if kills or in_group:
        return "oom_killer"
    if in_group is None and on_machine:
        return "perhaps_oom_killer"
    if is_final and 0 in (in_group, on_machine):
        return "not_oom_killer"
    if last is not None and last.limit_bytes and last.used_bytes is not None:
        return (
            "perhaps_oom_killer" if last.used_bytes >= NEAR_LIMIT * last.limit_bytes else "unknown"
        )
    return "unknown"


def _memory(
    kills: Sequence[KernelKill], rises: Sequence[Rise], known: Sequence[MemoryCounters]
) -> Memory | None:
    """By the kernel's word; else by whether the group met its own limit."""
    if kills and kills[0].scope:
        return "group" if kills[0].scope == "group" else "machine"
    hits, ooms = rises[2].grown, rises[3].grown
    if ooms is not None:
        return "group" if ooms else "machine"
    limit = _with_limit(known)
    if limit is None:
        return "machine" if any(each.cgroup_version for each in known) else None
    if hits is None or limit.peak_bytes is None or not limit.limit_bytes:
        return None
    met = hits > 0 and limit.peak_bytes >= NEAR_LIMIT * limit.limit_bytes
    return "group" if met else "machine"


def _with_limit(known: Sequence[MemoryCounters]) -> MemoryCounters | None:
    limited = [each for each in known if each.limit_path is not None]
    return limited[-1] if limited else None


def _elsewhere(rises: Sequence[Rise]) -> int | None:
    in_group, on_machine = rises[0].grown, rises[1].grown
    return None if in_group is None or on_machine is None else max(0, on_machine - in_group)


def _victim(kills: Sequence[KernelKill], run: Run, is_gone: bool, lost_loader: bool) -> Victim:
    rows = run.tables.processes
    roles = {
        str(role) for kill in kills for role in rows.loc[rows["pid"] == kill.pid, "role"].unique()
    }
    if "main" in roles or any(kill.pid == run.info.pid for kill in kills):
        return "trainer"
    if "worker" in roles:
        return "loader"
    if is_gone or (run.tables.events["name"] == "rank_lost").any():
        return "trainer"
    return "loader" if lost_loader else "unknown"


def _between(
    run: Run, host: str, last: LastProcesses | None, known: Sequence[MemoryCounters]
) -> tuple[float | None, float | None]:
    """The last moment before, and the first after: by the first sample that counts more."""
    rows = run.tables.host
    rows = rows[rows["host"] == host].dropna(subset=["cgroup_oom_kills"])
    first = rows["cgroup_oom_kills"].min() if len(rows) else None
    risen = rows[rows["cgroup_oom_kills"] > first] if first is not None else rows
    if len(risen):
        at = float(risen["at_unix_s"].iloc[0])
        before = rows.loc[rows["at_unix_s"] < at, "at_unix_s"]
        return (float(before.max()) if len(before) else None), at
    after_s = None if last is None else last.at_unix_s
    gone = [each.at_unix_s for each in known if each.moment in (END, GONE)]
    later = [at for at in gone if after_s is None or at >= after_s]
    return after_s, (later[0] if later else None)


def _reasons(run: Run, is_final: bool) -> tuple[str, ...]:
    found = list(run.aftermath.unknown) if run.aftermath is not None else []
    if not is_final:
        found.append("the machine's sampler ended with the run, so its last counters are missing")
    return tuple(say("{reason}", reason=reason) for reason in found)
