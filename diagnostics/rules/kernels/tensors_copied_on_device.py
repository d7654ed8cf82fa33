"""KN203: much kernel time only copies tensors on the device."""

from typing import ClassVar

from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import TraceRule, advise

LAYOUT = (
    "Find what copies: `.contiguous()` after permute or transpose, layouts that change between "
    "operators (choose channels_last for the whole model), casts to and fro, `clone()` and "
    "`torch.cat` of what could be written in place."
)
SIGN = "less kernel time in aten::copy_, aten::contiguous and aten::clone"


class TensorsCopiedOnDevice(TraceRule):
    """Kernels of operators that copy, convert or reorder a tensor."""

    code = "KN203"
    name = "tensors-copied-on-device"
    summary = (
        "{kernels:.0f} kernels of each step only copy, cast or reorder tensors on the device: "
        "{copying_ms:.1f} of {step_ms:.1f} ms ({share:.1%})."
    )
    docs = """
## What it measures
The time of kernels launched by `aten::copy_`, `aten::contiguous`, `aten::clone` and
`aten::_to_copy`, within the step.

## Why it matters
They compute nothing and move every byte twice. Frequent causes are a permute before an operator
that needs contiguous memory, layouts that alternate, and casts around operators that autocast
keeps in 32 bits.

## What to try
Let tensors keep one layout and one type from operator to operator.

## False alarms
Windowed attention reorders by design; gradient accumulation and exchange copy, too. With mixed
precision some casts belong to it.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the copying kernels against the step."""
        copying_ms, kernels = trace.copying_ms, trace.copying_kernels
        return self.judge_time(
            trace,
            None if kernels is None else copying_ms,
            "copying kernels / step",
            {"kernels": kernels, "copying_ms": copying_ms},
            [("copying kernels", kernels, "count", None)],
            [advise(LAYOUT, SIGN, copying_ms)],
        )
