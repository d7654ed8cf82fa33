"""HM002: the trainer's memory rises step by step."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.host_memory.memory_advice import GIB, host_memory_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class HostMemoryGrowing(Rule):
    """A steady rise of the process tree's memory."""

    code = "HM002"
    name = "host-memory-growing"
    explains = ("HM001",)
    summary = (
        "The trainer's memory grows by {mib_per_step:.2f} MiB per step: {rise_gib:.2f} GiB over "
        "{num_steps} steps."
    )
    docs = """
## What it measures
The slope of the memory of the trainer and its loader processes over the steps, where it rises
steadily; steps at the start are left out.

## Why it matters
Memory that only grows ends the run sooner or later, usually at night. A cache that fills grows
too, but stops at its budget.

## What to try
If the cache is on, wait until it is full or give it a smaller budget. Without a cache, look for
what collects objects: lists of losses that still hold their graph, statistics of every sample,
dictionaries in the data set.

## False alarms
The rise while the cache fills is wanted as long as its budget fits into memory. Memory shared by
several processes is counted once only where the system tells the proportional share.
"""
    at_note: ClassVar[Threshold]
    least_steps: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Judge the slope by its rise over the run and by what is left."""
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
        rise = slope * steps
        if rise < self.at_note.value * GIB:
            return None
        return self.finding(
            self._severity(measured),
            {"mib_per_step": slope / 2**20, "rise_gib": rise / GIB, "num_steps": steps},
            self._evidence(measured, slope, rise),
            self._advice(measured),
            cost_bytes=int(rise),
        )

    def _severity(self, measured: Measurements) -> Severity:
        """Critical if the limit comes before the run's end, a note while a cache may be filling."""
        left, planned = measured.host_memory_steps_to_limit, measured.steps_left
        if left is not None and planned is not None and left < planned:
            return Severity.CRITICAL
        return Severity.NOTE if _cache_fills(measured) else Severity.WARN

    def _evidence(self, measured: Measurements, slope: float, rise: float) -> tuple[Evidence, ...]:
        source = measured.source("host_memory_growth_bytes_per_step")
        return (
            Evidence(metric="growth", value=slope, unit="bytes/step", source=source),
            Evidence(
                metric="rise",
                value=int(rise),
                unit="bytes",
                limit=self.at_note.value * GIB,
                source=source,
            ),
            Evidence(
                metric="steps until the limit",
                value=measured.host_memory_steps_to_limit,
                unit="count",
                limit=measured.steps_left,
                source=source,
            ),
        )

    def _advice(self, measured: Measurements) -> tuple[Advice, ...]:
        if _cache_fills(measured):
            return host_memory_advice(measured)
        return (
            Advice(
                text="Nothing in the configuration explains the growth; `python "
                "diagnose_memory.py` during the run shows which process grows.",
                verify=verify("no host-memory-growing"),
            ),
        )


def _cache_fills(measured: Measurements) -> bool:
    return measured.setting("DATA.USE_RAM_CACHE") is True
