"""HM006: the kernel's OOM killer ended the run, or a process of it."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.host_memory.cache_budget import GIB
from diagnostics.rules.host_memory.growth_advice import advice_on_the_growth_that_filled
from diagnostics.rules.host_memory.memory_advice import host_memory_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_SAMPLED, RECORD_MACHINE
from diagnostics.rules.rule import Outcome, Rule, Threshold

_VICTIMS = {
    "trainer": "the trainer",
    "loader": "a loader process",
    "unknown": "a process of the run's control group",
}
_MEMORIES = {"group": "the limit of its control group", "machine": "the machine's memory"}
_RAISE = (
    "Give the container or the job more memory: its limit is {limit_gib:.1f} GiB, whatever the "
    "machine has (`docker run --memory`, `sbatch --mem`, `resources.limits.memory`)."
)


class KilledForMemory(Rule):
    """SIGKILL by the kernel, by its own count."""

    code = "HM006"
    name = "killed-for-memory"
    explains = ("HM001", "HM003")
    summary = "The kernel's OOM killer {surely} {victim}: {memory} was used up{largest}."
    docs = """
## What it measures
What the kernel counts: processes that it killed for memory on the machine, and those of them that
were in the run's own control group, before the run and after it; and its log, where it can be read.

## Why it matters
The victim gets SIGKILL and can write nothing: the log just stops. Memory of the GPU has nothing to
do with it; that ends in a Python error.

## What to try
Look at who was largest and who had grown. Where steady growth made at least half of what was too
much, that is what to end, and no switch is proposed. Else a smaller cache, fewer loader processes,
less prefetching; a larger limit where the container's was met and the machine has more.

## False alarms
A program outside the run that shares its control group, such as another program of the same
container, is counted too; the kernel's log names the victim. Killers that are no part of the kernel
(systemd-oomd, earlyoom) leave no such count and look like a person.
"""
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Trust the kernel's count; without one, say so."""
        if measured.killer is None:
            if measured.num_kernel_kills is None:
                return self.not_evaluated(NOT_SAMPLED, RECORD_MACHINE)
            return None
        if measured.killer == "not_oom_killer":
            return None
        if measured.killer == "unknown":
            return self.not_evaluated(
                "nothing tells whether memory ended the run", "python diagnose_memory.py"
            )
        is_ours = measured.kill_victim != "unknown"
        return self.finding(
            Severity.CRITICAL if is_ours else Severity.WARN,
            {
                "surely": "ended" if measured.killer == "oom_killer" else "probably ended",
                "victim": _VICTIMS[measured.kill_victim or "unknown"],
                "memory": _MEMORIES.get(measured.kill_memory or "", "memory"),
                "largest": _largest(measured),
            },
            (
                row(
                    "processes killed for memory",
                    measured.num_oom_kills,
                    "count",
                    self.at_critical,
                    measured.source("num_oom_kills"),
                ),
                row(
                    "largest process when last seen",
                    measured.kill_largest_bytes,
                    "bytes",
                    None,
                    measured.source("kill_largest_bytes"),
                ),
                row(
                    "growth of the process that grew most",
                    measured.kill_grown_bytes,
                    "bytes",
                    None,
                    measured.source("kill_grown_bytes"),
                ),
            ),
            _advice(measured),
            cost_bytes=measured.kill_largest_bytes,
        )


def _largest(measured: Measurements) -> str:
    if measured.kill_largest is None or measured.kill_largest_bytes is None:
        return ""
    return say(
        "; the largest process was {role} with {size_gib:.2f} GiB",
        role=measured.kill_largest,
        size_gib=measured.kill_largest_bytes / GIB,
    )


def _advice(measured: Measurements) -> tuple[Advice, ...]:
    """What grew, where that is enough to explain it; else switches first, where one is known."""
    more = _more(measured)
    growth = advice_on_the_growth_that_filled(measured)
    if growth is not None:  # no switch ends it, and more memory only puts it off
        return (growth, *more)
    switches = host_memory_advice(measured)
    knows = any(advice.config_change is not None for advice in switches)
    return (*switches, *more) if knows else (*more, *switches)


def _more(measured: Measurements) -> tuple[Advice, ...]:
    limit = measured.kill_limit_bytes
    if measured.kill_memory != "group" or not limit:
        return ()
    text = say(_RAISE, limit_gib=limit / GIB)
    return (Advice(text=text, verify="python diagnose_memory.py"),)
