"""CM201: the device waits for communication that no compute hides."""

from typing import ClassVar

from diagnostics.rules.communication.exchange_advice import exchange_advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import TraceRule

ONE_RANK = "the run had one rank; this rule is about communication between ranks"
NO_COMMUNICATION = "the trace shows no communication"


class CommunicationExposed(TraceRule):
    """Communication kernels beside which nothing computes."""

    code = "CM201"
    name = "communication-exposed"
    explains = ("CF001",)
    on_cpu = True
    summary = (
        "Communication that nothing hides takes {exposed_ms:.1f} of {step_ms:.1f} ms of each step "
        "({share:.1%}); {total_ms:.1f} ms with what is hidden."
    )
    docs = """
## What it measures
The time of communication kernels (NCCL and its kin) during which the device computes nothing; on a
CPU the time of the program's own calls (Gloo, MPI) outside of its operators.

## Why it matters
Gradients can travel while the rest of the backward computes. What is exposed is paid in full, by
every rank.

## What to try
Less to exchange, less often, or earlier. The wait for a slower rank looks like communication on
all others: compare the ranks first.

## False alarms
With one rank's trace alone, waiting for others and transferring cannot be told apart. At the end of
the backward the last bucket is always exposed.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the exposed communication against the step."""
        exposed_ms, total_ms = trace.communication_exposed_ms, trace.communication_ms
        if exposed_ms is None or not total_ms:
            is_single = measured.world_size == 1
            return self.not_evaluated(ONE_RANK if is_single else NO_COMMUNICATION)
        return self.judge_time(
            trace,
            exposed_ms,
            "exposed communication / step",
            {"exposed_ms": exposed_ms, "total_ms": total_ms},
            [
                ("communication, hidden part included", total_ms, "ms", None),
                ("longest exchange", trace.collective, "", None),
            ],
            exchange_advice(trace, exposed_ms),
        )
