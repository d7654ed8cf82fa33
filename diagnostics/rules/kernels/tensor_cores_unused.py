"""KN201: a trace shows matrix products in 32 bits on a GPU that has tensor cores."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Gain
from diagnostics.rules.kernels.compute_advice import mixed_precision
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, VERIFY, TraceRule, evidence_of

NO_CAPABILITY = "the trace does not name the GPU's compute capability"
NO_TENSOR_CORES = "this GPU has no tensor cores (compute capability below 7.0)"
AMP = (
    "Compute matrix products and convolutions in 16 bits: `torch.autocast`, with bfloat16 from "
    "compute capability 8.0 on, else float16 and a GradScaler; from 8.0 on "
    "`torch.set_float32_matmul_precision('high')` alone uses tensor cores for 32-bit ones."
)
SIGN = "tensor cores take a share of kernel time, kernels are shorter in all"


class TensorCoresUnused(TraceRule):
    """Kernel time of operators that tensor cores could do, while they do next to nothing."""

    code = "KN201"
    name = "tensor-cores-unused"
    explains = ("KN002",)
    summary = (
        "Operators that tensor cores can do take {eligible_ms:.1f} ms of kernels in each step "
        "({share:.1%} of it), and {tensor_share:.1%} of kernel time runs on tensor cores."
    )
    docs = """
## What it measures
The time of kernels launched by matrix products and convolutions, as a share of the step, and how
much of all kernel time is spent in kernels whose names say that they use tensor cores.

## Why it matters
From Volta on, tensor cores multiply 16-bit numbers (from Ampere on also TF32) several times as
fast as the other units, and 16 bits move half the bytes.

## What to try
Automatic mixed precision, or TF32 where full 32-bit results are not needed.

## False alarms
Training that needs 32 bits. Sizes that are no multiples of 8 leave tensor cores unused though AMP
is on. Kernels of Triton do not say in their names which units they use: where they take much of
the time, the rule does not judge. The cost counts the part of the eligible time that halved bytes
alone give back; it is no prediction.
"""
    at_warn: ClassVar[Threshold]
    most_tensor_share: ClassVar[Threshold]
    capability: ClassVar[Threshold]
    recoverable: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the eligible time against the step, where tensor cores are there and unused."""
        capability, eligible_ms = measured.compute_capability, trace.eligible_ms
        tensor_share, share = trace.tensor_core_share, trace.share(eligible_ms)
        if capability is None:
            return self.not_evaluated(NO_CAPABILITY, RECORD_FACTS)
        if capability < self.capability.value:
            return self.not_evaluated(NO_TENSOR_CORES)
        if eligible_ms is None or tensor_share is None or share is None:
            return self.not_evaluated(NOT_IN_TRACE)
        severity = self.grade(share)
        if severity is None or tensor_share >= self.most_tensor_share.value:
            return None
        cost_ms = eligible_ms * self.recoverable.value
        return self.finding(
            severity,
            {"eligible_ms": eligible_ms, "share": share, "tensor_share": tensor_share},
            evidence_of(
                trace,
                ("eligible kernels / step", share, "share", self.at_warn.value),
                ("tensor cores / kernel time", tensor_share, "share", self.most_tensor_share.value),
                ("compute capability", capability, "", self.capability.value),
            ),
            (_advice(measured, cost_ms),),
            cost_ms_per_step=cost_ms,
        )


def _advice(measured: Measurements, cost_ms: float) -> Advice:
    """The switch of our trainer where it is known to be off, else what to write."""
    gain = Gain(low_ms=0.0, mid_ms=None, high_ms=cost_ms)
    ours = mixed_precision(measured)
    change = None if ours is None else ours.config_change
    return Advice(
        text=AMP, config_change=change, predicted_gain=gain, verify=say(VERIFY, sign=SIGN)
    )
