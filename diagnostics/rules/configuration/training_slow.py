"""CF001: less than one sample in a second."""

from typing import ClassVar

from diagnostics.language import listed, say
from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, device_unknown, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

SHOWN_PHASES = 3


class TrainingSlow(Rule):
    """Throughput of all ranks on GPUs."""

    code = "CF001"
    name = "training-slow"
    for_our_trainer = True
    summary = "The run trains {rate:.3g} samples/s. Most of the step: {largest}."
    docs = """
## What it measures
Samples (clips) of all ranks in a second of ordinary steps.

## Why it matters
Below one sample in a second the usual 80 epochs take weeks.

## What to try
This is a symptom; several causes often add up. Follow the other findings in their order: each
names the milliseconds that it can give back.

## False alarms
The limit is the performance guide's, for its network and crop on its GPUs. Larger crops, longer
clips and larger networks are slower by intention.
"""
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the throughput with the limit."""
        if measured.device == "cpu":
            return self.not_evaluated(
                "the performance guide's limit of 1 sample/s is for GPUs; this run was on the CPU"
            )
        if measured.device is None:
            return self.not_evaluated(device_unknown("throughput"), RECORD_FACTS)
        rate = measured.samples_per_s
        if rate is None:
            return self.not_evaluated("throughput was not measured", RECORD_FACTS)
        if rate >= self.at_warn.value:
            return None
        largest = _largest_phases(measured)
        return self.finding(
            Severity.WARN,
            {"rate": rate, "largest": _spelled(largest)},
            (
                Evidence(
                    metric="throughput",
                    value=rate,
                    unit="samples/s",
                    limit=self.at_warn.value,
                    source=measured.source("samples_per_s"),
                ),
                *(
                    Evidence(
                        metric=say("{name} / step", name=name),
                        value=share,
                        unit="share",
                        source=measured.source("phase_ms"),
                    )
                    for name, share in largest
                ),
            ),
            (
                Advice(
                    text="Begin with the finding that costs most; measure after each change.",
                    verify=verify("more samples/s"),
                ),
            ),
        )


def _largest_phases(measured: Measurements) -> list[tuple[str, float]]:
    shares = {name: measured.phase_share(name) or 0.0 for name in measured.phase_ms}
    return sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_PHASES]


def _spelled(phases: list[tuple[str, float]]) -> str:
    if not phases:
        return "unknown, phases were not recorded"
    return listed(say("{phase} {share:.0%}", phase=name, share=share) for name, share in phases)
