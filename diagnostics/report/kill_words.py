"""What ended a run that could say nothing, in sentences."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from diagnostics.aftermath import KernelKill
from diagnostics.analyses.kill_account import KillAccount, Rise
from diagnostics.analyses.last_processes import LastProcess, LastProcesses
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.model import Report

TOP_PROCESSES = 3
NO_END = "no end recorded (killed, or still running)"
_VICTIMS = {
    "trainer": "the trainer",
    "loader": "a loader process",
    "unknown": "a process of the run's control group",
}
_MEMORIES = {"group": "the limit of its control group", "machine": "the machine's memory"}
_COUNTERS = {
    "cgroup_oom_kills": "killed for memory in its control group",
    "oom_kills": "killed for memory on the machine",
    "limit_hits": "limit of the group reached",
    "limit_ooms": "limit reached with nothing left to give back",
}


def describe_kill(account: KillAccount) -> str:
    """The answer, in one sentence."""
    victim, when = _VICTIMS[account.victim], _when(account)
    if account.killer == "oom_killer":
        reason = _MEMORIES.get(account.memory or "", "memory")
        return say(
            "The kernel's OOM killer ended {victim}{when}: {reason} was used up.",
            victim=victim,
            when=when,
            reason=reason,
        )
    if account.killer == "perhaps_oom_killer":
        return say(
            "The kernel's OOM killer probably ended {victim}{when}; no count of its own proves it.",
            victim=victim,
            when=when,
        )
    if account.killer == "not_oom_killer":
        return say(
            "Something ended {victim}{when}, but not the kernel's OOM killer: it counts no victim "
            "among the run's processes. A person, a job scheduler or another program did (kill "
            "-9), or the process crashed.",
            victim=victim,
            when=when,
        )
    return say(
        "{victim} ended without a word{when}; whether for memory is not known.",
        victim=victim,
        when=when,
    )


def kill_details(account: KillAccount) -> Iterator[str]:
    """The grounds: counters before and after, the kernel's own words, who was largest."""
    told = [_rise(each) for each in account.rises if each.after is not None]
    if told:
        yield say("counted by the kernel: {counters}", counters=listed(told, "; "))
    if account.elsewhere:
        yield say(
            "{count} of those killed on the machine were not of the run's control group",
            count=account.elsewhere,
        )
    limit = account.counters
    if limit is not None and limit.limit_bytes:
        yield say(
            "control group {path} (cgroup v{version}): limit {limit}, most in use {peak}",
            path=limit.limit_path,
            version=limit.cgroup_version,
            limit=units.size(limit.limit_bytes),
            peak=units.size(limit.peak_bytes),
        )
    yield from (_kernel_words(kill) for kill in account.kills)
    if account.log_problem is not None:
        yield say("the kernel's log could not be read: {problem}", problem=account.log_problem)
    if account.last is not None:
        yield from _last(account.last, account)
    yield from account.reasons


def status_of(report: Report) -> str:
    """The run's end in a word; one that could not write it down says "running" for ever."""
    kill, status = report.analysis.kill, report.info.status
    if status == "running" and kill is not None:
        return _unwritten_end(kill)
    return status or "end unknown"


def _unwritten_end(kill: KillAccount) -> str:
    """Something was killed: only where nobody saw the trainer go may it run on."""
    if kill.victim == "trainer" and kill.killer == "oom_killer":
        return "killed by the kernel's OOM killer"
    if kill.is_gone or kill.victim == "trainer":
        return "ended without a word"
    return NO_END


def kill_mapping(account: KillAccount | None) -> dict[str, Any] | None:
    """For a JSON report: the account with the sentence about it."""
    if account is None:
        return None
    return {"text": describe_kill(account), **asdict(account)}


def moment(at_unix_s: float) -> str:
    """A time of day that reads the same everywhere."""
    try:
        return datetime.fromtimestamp(at_unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):  # no time of this world
        return f"{at_unix_s:.0f} s"


def _when(account: KillAccount) -> str:
    if account.at_unix_s is not None:
        return say(" at {moment}", moment=moment(account.at_unix_s))
    first, last = account.after_unix_s, account.before_unix_s
    if first is not None and last is not None:
        return say(
            " at {moment}, or up to {seconds:.1f} s later",
            moment=moment(first),
            seconds=max(0.0, last - first),
        )
    return "" if first is None else say(" after {moment}", moment=moment(first))


def _rise(rise: Rise) -> str:
    return say(
        "{name} {before} -> {after}",
        name=_COUNTERS[rise.name],
        before="?" if rise.before is None else rise.before,
        after=rise.after,
    )


def _kernel_words(kill: KernelKill) -> str:
    return say(
        "the kernel's log: process {pid} ({name}) with {size} resident{largest}",
        pid=kill.pid,
        name=kill.name,
        size=units.size(kill.resident_bytes),
        largest=_largest_listed(kill),
    )


def _largest_listed(kill: KernelKill) -> str:
    if not kill.tasks:
        return ""
    pid = max(kill.tasks, key=lambda each: kill.tasks[each])
    if pid == kill.pid:
        return say(", the largest of {count} it listed", count=len(kill.tasks))
    return say(
        "; the largest of {count} it listed was process {pid} with {size}",
        count=len(kill.tasks),
        pid=pid,
        size=units.size(kill.tasks[pid]),
    )


def _last(last: LastProcesses, account: KillAccount) -> Iterator[str]:
    largest = listed(_process(each) for each in last.processes[:TOP_PROCESSES])
    before = ""
    if account.before_unix_s is not None and account.before_unix_s >= last.at_unix_s:
        ago = account.before_unix_s - last.at_unix_s
        before = say(", {ago:.1f} s before", ago=ago)
    yield say("largest when last seen{before}: {largest}", before=before, largest=largest)
    grown = last.most_grown
    if grown is not None and grown.over_s is not None:
        yield say(
            "grown most: {process} by {size} in its last {seconds:.0f} s",
            process=_name(grown),
            size=units.size(grown.grown_bytes),
            seconds=grown.over_s,
        )
    if last.limit_bytes and last.used_bytes is not None:
        yield say(
            "in use then: {used} of {limit}",
            used=units.size(last.used_bytes),
            limit=units.size(last.limit_bytes),
        )


def _name(process: LastProcess) -> str:
    return say("{role} {pid}", role=process.role, pid=process.pid)


def _process(process: LastProcess) -> str:
    kind = "RSS" if process.is_upper_bound else "PSS"
    return say(
        "{name} {size} {kind}", name=_name(process), size=units.size(process.size_bytes), kind=kind
    )
