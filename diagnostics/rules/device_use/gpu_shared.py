"""GP006: another process holds memory on the run's GPU."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import GPU_NOT_SAMPLED, NOT_ON_CPU, RECORD_NVML, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

GIB = 1 << 30
_ADVICE = (
    "`nvidia-smi` on the machine lists who is on the GPU: end what was left behind, or give the "
    "run a GPU of its own (CUDA_VISIBLE_DEVICES)."
)


class GpuShared(Rule):
    """What the driver counts on a GPU beside what the run's allocators reserved."""

    code = "GP006"
    name = "gpu-shared"
    explains = ("GM001",)
    summary = (
        "{other_gib:.1f} GiB of the GPU's {total_gib:.1f} GiB are held by something else than this "
        "run's tensors: another process, most likely."
    )
    docs = """
## What it measures
The driver's count of used memory, its median over the run, less the most that the run's ranks on
that GPU had reserved.

## Why it matters
A second job takes memory and, while it computes, half of the GPU's time: steps become longer and
uneven, and out of memory comes earlier.

## What to try
See who is there, and move one of the two.

## False alarms
CUDA's context, its libraries and the buffers of NCCL lie outside PyTorch's allocator, several
hundred MiB for each rank; the limit leaves room for them.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the difference with the limits."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        other, total = measured.gpu_other_bytes, measured.device_memory_total_bytes
        if other is None or not total:
            return self.not_evaluated(GPU_NOT_SAMPLED, RECORD_NVML)
        if other < self.at_note.value * GIB:
            return None
        share = other / total
        source = measured.source("gpu_other_bytes")
        return self.finding(
            Severity.WARN if share >= self.at_warn.value else Severity.NOTE,
            {"other_gib": other / GIB, "total_gib": total / GIB},
            (
                row(
                    "beside this run's allocators", other, "bytes", self.at_note.value * GIB, source
                ),
                row("beside this run's allocators / GPU", share, "share", self.at_warn, source),
            ),
            (Advice(text=_ADVICE, verify=verify("no gpu-shared")),),
            cost_bytes=other,
        )
