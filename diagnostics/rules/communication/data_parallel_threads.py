"""CM203: one process drives several devices by threads."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, VERIFY, TraceRule, evidence_of

USE_RANKS = (
    "Start one process for each device (`torchrun`) and wrap the model in "
    "`DistributedDataParallel`."
)
SIGN = "no DataParallel.forward"


class DataParallelThreads(TraceRule):
    """`DataParallel.forward` in the trace, and more than one device at work."""

    code = "CM203"
    name = "data-parallel-threads"
    explains = ("GP204", "GP201")
    summary = (
        "`torch.nn.DataParallel` drives {devices} devices from one process: every forward copies "
        "the model to each of them, and Python launches for all in turn."
    )
    docs = """
## What it measures
Whether `DataParallel.forward` is in the trace, and how many devices have work.

## Why it matters
The model is copied and the outputs are gathered in every step, the first device does more than the
others, and one interpreter launches for all.

## What to try
DistributedDataParallel, also on a single machine.

## False alarms
None where more than one device has work.
"""
    at_warn: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Count the devices of a trace that shows DataParallel."""
        devices = trace.num_devices
        if devices is None:
            return self.not_evaluated(NOT_IN_TRACE)
        if not trace.is_data_parallel or devices < self.at_warn.value:
            return None
        return self.finding(
            Severity.WARN,
            {"devices": devices},
            evidence_of(trace, ("devices with work", devices, "count", self.at_warn.value)),
            (Advice(text=USE_RANKS, verify=say(VERIFY, sign=SIGN)),),
        )
