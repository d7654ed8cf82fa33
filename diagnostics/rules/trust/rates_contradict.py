"""TR005: the log's samples per second do not fit the times beside them."""

from typing import ClassVar

from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class RatesContradict(Rule):
    """Each stated rate against the one that steps and times give."""

    code = "TR005"
    name = "rates-contradict-times"
    summary = (
        "The log contradicts itself: it states {stated:.2f} samples/s where its own steps and "
        "times give {computed:.2f}."
    )
    docs = """
## What it measures
Stated samples per second against samples and time of the same lines: of the step lines, of the
epoch lines, and against the most that the forward alone would allow.

## Why it matters
One of two figures that contradict each other is wrong, and a comparison built on it is too. Common
causes: optimizer steps counted as batches under gradient accumulation, one rank's samples for all,
a clock that leaves the wait for data out.

## What to try
Compare runs by the time of a step; record again with this trainer, whose samples per second count
all ranks and all of the step.

## False alarms
A rate and a time that are means over different steps differ by what changed between them.
"""
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Take the rate that is furthest off."""
        if not measured.rate_claims:
            return self.not_evaluated("no log states samples/s beside times", RECORD_FACTS)
        apart = {
            name: max(0.0, abs(stated - computed) - rounding) / computed
            for name, (stated, computed, rounding) in measured.rate_claims.items()
            if computed > 0
        }
        wrong = [name for name, gap in apart.items() if gap >= self.at_warn.value]
        if not wrong:
            return None
        worst = max(wrong, key=lambda name: apart[name])
        stated, computed, _ = measured.rate_claims[worst]
        return self.finding(
            Severity.WARN,
            {"stated": stated, "computed": computed},
            tuple(
                Evidence(
                    metric=name,
                    value=measured.rate_claims[name][0],
                    unit="samples/s",
                    limit=measured.rate_claims[name][1],
                    source=measured.source("samples_per_s"),
                )
                for name in wrong
            ),
            (
                Advice(
                    text="Compare runs by the time of a step, not by this log's samples/s.",
                    verify=verify("no rates-contradict-times"),
                ),
            ),
        )
