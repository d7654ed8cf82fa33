"""CF010: the run recorded its steps, and nothing of the machine."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, ConfigChange, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

KEY = "PROFILING.RESOURCES"
_ON = "Switch the sampler on: it runs in a process of its own and costs a few per mille of a core."
_LOST = "No sample was left although it was on: see the notes for what became of the sampler."


class MachineNotWatched(Rule):
    """Facts without a sample of memory, cores and GPUs."""

    code = "CF010"
    name = "machine-not-watched"
    summary = "Steps were recorded, but {samples} samples of memory, cores and GPUs beside them."
    docs = """
## What it measures
Whether the facts of the run hold samples of the machine.

## Why it matters
Memory that grows, a GPU that throttles and neighbours that take the cores can then not be told
from slow code. The rules about them answer "not evaluated".

## What to try
PROFILING.RESOURCES: true, in other loops `record(resources=True)`, which is the default of both.

## False alarms
A run of seconds may end before its first sample.
"""
    least: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Whether there is a sample."""
        if measured.is_machine_sampled is None:
            return self.not_evaluated("only facts hold samples of the machine", RECORD_FACTS)
        if measured.is_machine_sampled:
            return None
        is_off = measured.setting(KEY) is False
        change = ConfigChange(key=KEY, current=False, proposed=True) if is_off else None
        text = _ON if is_off or measured.is_own_loop else _LOST
        return self.finding(
            Severity.WARN if is_off else Severity.NOTE,
            {"samples": 0},
            (row("samples of the machine", 0, "count", self.least, "resources.*.jsonl"),),
            (Advice(text=text, config_change=change, verify=verify("a section about resources")),),
        )
