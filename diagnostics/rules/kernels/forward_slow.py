"""KN003: one forward pass takes longer than the performance guide allows."""

from typing import ClassVar

from diagnostics.rules.finding import Evidence, Severity
from diagnostics.rules.kernels.compute_advice import compute_advice, largest_gain
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, device_unknown
from diagnostics.rules.rule import Outcome, Rule, Threshold


class ForwardSlow(Rule):
    """The mean of one forward pass on a GPU."""

    code = "KN003"
    name = "forward-slow"
    for_our_trainer = True
    explains = ("KN001", "CF001")
    summary = "One forward pass takes {forward_ms:.0f} ms; the model's compute is the bottleneck."
    docs = """
## What it measures
The mean time of one forward pass (of one micro-batch) on a GPU.

## Why it matters
The backward takes about twice as long again: a slow forward means a slow run, whatever the loader
does.

## What to try
Mixed precision, fused attention, then the heaviest stage of the table.

## False alarms
The limit is the performance guide's, for its network at a crop of 256 on its GPUs; a larger crop
or batch takes longer by nature. A forward measured by the host's clock on a GPU measures
launches.
"""
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare one pass with the limit."""
        if measured.device == "cpu":
            return self.not_evaluated(
                "the performance guide's limit of 1500 ms is for GPUs; this run was on the CPU"
            )
        if measured.device is None:
            return self.not_evaluated(device_unknown("the forward's time"), RECORD_FACTS)
        forward_ms = measured.forward_ms_per_pass
        if forward_ms is None:
            return self.not_evaluated("the forward pass was not measured", RECORD_FACTS)
        if forward_ms <= self.at_warn.value:
            return None
        advice = compute_advice(measured)
        return self.finding(
            Severity.WARN,
            {"forward_ms": forward_ms},
            (
                Evidence(
                    metric="one forward pass",
                    value=forward_ms,
                    unit="ms",
                    limit=self.at_warn.value,
                    source=measured.source("phase_ms"),
                ),
            ),
            advice,
            cost_ms_per_step=largest_gain(advice),
        )
