"""CM202: ranks on GPUs exchange through a backend for CPUs."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, VERIFY, TraceRule, evidence_of

ONE_RANK = "the run had one rank; this rule is about communication between ranks"
FOR_DEVICES = ("nccl", "rccl", "hccl", "xccl", "ucc")
NCCL = "Initialise the process group with `backend='nccl'`: gradients then stay on the devices."
SIGN = "communication kernels on the device"


class SlowBackend(TraceRule):
    """The backend of the process group, on devices that have a better one."""

    code = "CM202"
    name = "slow-backend"
    summary = (
        "{ranks} ranks on GPUs exchange through {backend}, which copies every gradient to the host "
        "and back."
    )
    docs = """
## What it measures
The backend that the trace names for the process group, in a run on GPUs.

## Why it matters
Gloo and MPI without device support send through the host's memory and processor; NCCL uses the
links between devices.

## What to try
`backend="nccl"` (on AMD the same name means RCCL).

## False alarms
GPUs that NCCL no longer supports, and ranks that share one GPU, need another backend.
"""
    capability: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Look at the backend of a run with several ranks."""
        ranks = measured.world_size
        if ranks == 1:
            return self.not_evaluated(ONE_RANK)
        if ranks is None or trace.backend is None:
            return self.not_evaluated(NOT_IN_TRACE)
        capability = measured.compute_capability
        too_old = capability is not None and capability < self.capability.value
        is_fit = any(name in trace.backend.lower() for name in FOR_DEVICES)
        if ranks < self.at_warn.value or is_fit or too_old:
            return None
        return self.finding(
            Severity.WARN,
            {"ranks": ranks, "backend": trace.backend},
            evidence_of(
                trace,
                ("backend", trace.backend, "", None),
                ("ranks", ranks, "count", self.at_warn.value),
            ),
            (Advice(text=NCCL, verify=say(VERIFY, sign=SIGN)),),
        )
