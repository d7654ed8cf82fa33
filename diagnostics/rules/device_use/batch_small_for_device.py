"""GP003: processor, GPU and GPU memory all have room: the batch is small for the device."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import DEVICE_MEMORY, Advice, ConfigChange, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU, RECORD_NVML, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

SIGN = "more samples/s, GPU memory below 90 %"
_OURS = (
    "Double the batch of {batch}{halved}: GPU memory was {memory:.0%} full at most, and one "
    "micro-batch more needs about that much again."
)
_HALVED = ", and halve the accumulation of {passes}, so that an optimizer step sees as many clips"
_OTHER = (
    "Use a larger batch: GPU memory was {memory:.0%} full at most. Watch the loss: the learning "
    "rate may have to follow."
)


class BatchSmallForDevice(Rule):
    """Use of CPU, GPU and GPU memory, in all of which nothing is short."""

    code = "GP003"
    name = "batch-small-for-device"
    explains = ("GP001",)
    summary = (
        "Nothing is at its limit: at the 95th percentile the GPU is busy {gpu:.0f} % of the time, "
        "its memory is {memory:.0%} full, and the CPU is {cpu:.0f} % busy."
    )
    docs = """
## What it measures
The 95th percentiles of GPU utilisation, GPU memory and CPU over the run, with the wait for data.

## Why it matters
A GPU that is never full although no one keeps it waiting has kernels that are too small for it:
most of a step is launching.

## What to try
A larger batch (and less accumulation), as long as memory and the loss allow it; compilation,
which merges small kernels.

## False alarms
Loops that wait for the network, a database or a person look the same. Utilisation counts any
running kernel: a small batch can also show 100 %, and then this rule is silent.
"""
    gpu: ClassVar[Threshold]
    cpu: ClassVar[Threshold]
    memory: ClassVar[Threshold]
    wait: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """All below their limits."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        gpu, memory = measured.gpu_util_p95_percent, measured.gpu_memory_p95_share
        cpu, wait_ms = measured.host_cpu_p95_percent, measured.data_wait_exposed_ms
        if gpu is None or memory is None or cpu is None or wait_ms is None or not measured.step_ms:
            return self.not_evaluated("use of GPU, CPU or the wait is not known", RECORD_NVML)
        wait = wait_ms / measured.step_ms
        limits = ((gpu, self.gpu), (cpu, self.cpu), (memory, self.memory), (wait, self.wait))
        if any(value >= limit.value for value, limit in limits):
            return None
        source = measured.source("gpu_util_p95_percent")
        return self.finding(
            Severity.WARN if gpu < self.gpu.value / 2 else Severity.NOTE,
            {"gpu": gpu, "memory": memory, "cpu": cpu},
            (
                row("GPU utilisation, p95", gpu, "percent", self.gpu, source),
                row("GPU memory, p95", memory, "share", self.memory, source),
                row("CPU of the machine, p95", cpu, "percent", self.cpu, source),
                row("exposed data wait / step", wait, "share", self.wait),
            ),
            (_advice(measured, memory),),
            cost_ms_per_step=measured.step_ms * (1 - gpu / 100),
        )


def _advice(measured: Measurements, memory: float) -> Advice:
    batch = measured.whole_setting("TRAIN.BATCH_SIZE")
    if not batch:
        return Advice(
            text=say(_OTHER, memory=memory), verify=verify(SIGN), towards=(DEVICE_MEMORY, "more")
        )
    passes = measured.whole_setting("TRAIN.GRADIENT_ACCUMULATION_STEPS") or 1
    halved = say(_HALVED, passes=passes) if passes > 1 else ""
    return Advice(
        text=say(_OURS, batch=batch, halved=halved, memory=memory),
        config_change=ConfigChange(key="TRAIN.BATCH_SIZE", current=batch, proposed=2 * batch),
        verify=verify(SIGN),
        towards=(DEVICE_MEMORY, "more"),
    )
