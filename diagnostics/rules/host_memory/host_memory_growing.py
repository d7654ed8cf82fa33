"""HM002: the trainer's memory rises step by step."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Evidence, Severity
from diagnostics.rules.host_memory.cache_budget import GIB
from diagnostics.rules.host_memory.growth_advice import cache_fills, growth_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold
from diagnostics.rules.steady_growth import AHEAD, growth_ahead_bytes


class HostMemoryGrowing(Rule):
    """A steady rise of the memory of the run's processes."""

    code = "HM002"
    name = "host-memory-growing"
    explains = ("HM001",)
    is_leak = True
    summary = (
        "The run's memory grows steadily by {mib_per_step:.2f} MiB per step, {rise_mib:.0f} MiB "
        "from step {first:.0f} to {last:.0f}{holder}."
    )
    docs = """
## What it measures
Memory that rises steadily over the steps: of each process of the run, of the loading processes
together, and of /dev/shm, which is named with the process that maps or writes as much. Of a process
counts what it shares with no other; where none grows, also pages that loading processes copy as
they touch what they were forked with, in a run of ten minutes. The start, rises at once and what
is given back again are left out, and so are processes that ended; a text log tells the whole tree
only. Rate, rise and beginning are those of one stretch: from where the growth begins to the end,
and where several memories grow, that in which all of them do. It is judged by what that rate makes
over 1,000 steps, or over the run if that is longer.

## Why it matters
Memory that only grows ends the run sooner or later, usually at night. A cache that fills grows
too, but stops at its budget.

## What to try
If the cache is on, wait until it is full or give it a smaller budget. Without a cache, look for
what collects objects: lists of losses that still hold their graph, statistics of every sample,
dictionaries in the data set.

## False alarms
The rise while the cache fills is wanted as long as its budget fits into memory. Warm-up that takes
as long as the whole run looks like growth, and so does the first tooth of memory that is given back
in long intervals. What several programs put into /dev/shm cannot be told apart.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    least_steps: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Judge the growth by what it makes over many steps and by what is left."""
        slope = measured.host_memory_growth_bytes_per_step
        steps = measured.host_memory_course_steps
        if steps is None:
            return self.not_evaluated("the course of host memory was not recorded", RECORD_FACTS)
        if slope is None:
            return self.not_evaluated(
                say("memory was read too seldom over {steps} steps to see a trend", steps=steps),
                "train longer",
            )
        if steps < self.least_steps.value:
            return self.not_evaluated(
                say(
                    "memory was followed over {steps} steps only; at least {least:.0f} are needed",
                    steps=steps,
                    least=self.least_steps.value,
                ),
                "train longer",
            )
        ahead = growth_ahead_bytes(slope, steps)
        if ahead < self.at_note.value * GIB:
            return None
        first, last = measured.host_memory_growth_steps or (0, steps)
        rise = slope * (last - first)
        values = {"mib_per_step": slope / 2**20, "rise_mib": rise / 2**20}
        return self.finding(
            self._severity(measured, ahead),
            values | {"first": first, "last": last, "holder": _holder(measured)},
            self._evidence(measured, slope, ahead),
            growth_advice(measured),
            cost_bytes=int(rise),
        )

    def _severity(self, measured: Measurements, ahead: float) -> Severity:
        """Critical if the limit comes before the run's end, a note while a cache may be filling."""
        left, planned = measured.host_memory_steps_to_limit, measured.steps_left
        if left is not None and planned is not None and left < planned:
            return Severity.CRITICAL
        is_much = ahead >= self.at_warn.value * GIB and not cache_fills(measured)
        return Severity.WARN if is_much else Severity.NOTE

    def _evidence(self, measured: Measurements, slope: float, ahead: float) -> tuple[Evidence, ...]:
        source = measured.source("host_memory_growth_bytes_per_step")
        left, planned = measured.host_memory_steps_to_limit, measured.steps_left
        growing = measured.host_memory_growth_of
        return (
            row("growth", slope, "bytes/step", None, source),
            *(
                row(say("growth of {holder}", holder=holder), each, "bytes/step", None, source)
                for holder, each in growing.items()
                if len(growing) > 1
            ),
            row(AHEAD, int(ahead), "bytes", self.at_note.value * GIB, source),
            row("steps until the limit", left, "count", planned, source),
        )


def _holder(measured: Measurements) -> str:
    """The one that grows most, if it is known."""
    growing = measured.host_memory_growth_of
    if not growing:
        return ""
    steepest = max(growing, key=lambda each: growing[each])
    if len(growing) == 1:
        return say(": all of it in {holder}", holder=steepest)
    return say(": most of it in {holder}", holder=steepest)
