"""GP208: a trace shows copies to the device out of memory that is not pinned."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Outcome, Threshold
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import NOT_IN_TRACE, VERIFY, TraceRule, up_to

JUDGED_BY_DL003 = "the recorder counted the copies itself: rule DL003 judges them"
PIN = (
    "Pin the batches: DataLoader(pin_memory=True), then `.to(device, non_blocking=True)`; a batch "
    "class of your own needs a method `pin_memory()`."
)
SIGN = "copies from pinned memory, hidden behind kernels"


class CopiesFromPageableMemory(TraceRule):
    """The share of bytes copied to the device that the driver had to stage first."""

    code = "GP208"
    name = "copies-from-pageable-memory"
    explains = ("GP209",)
    summary = (
        "{pageable:.0%} of the {copied_mib:.1f} MiB that each step copies to the device come from "
        "memory that is not pinned: {copy_ms:.1f} of {step_ms:.1f} ms ({share:.1%})."
    )
    docs = """
## What it measures
Copies to the device whose name in the trace says `Pageable`, their bytes as a share of all, and
the time that all copies to the device take without a kernel beside them.

## Why it matters
The driver copies pageable memory into a buffer of its own first, while the program waits. Such a
copy never runs beside other work, and `non_blocking=True` has no effect on it.

## What to try
`DataLoader(pin_memory=True)` together with `.to(device, non_blocking=True)`.

## False alarms
Small copies take microseconds either way; so the finding needs a visible share of the step. Memory
that is pinned cannot be swapped out.
"""
    least_pageable: ClassVar[Threshold]
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def look(self, measured: Measurements, trace: TraceMeasurements) -> Outcome:
        """Hold the time of the copies against the step, where they are not pinned."""
        if measured.copied_pinned_share is not None:
            return self.not_evaluated(JUDGED_BY_DL003)
        pageable, copy_ms = trace.pageable_share, trace.to_device_exposed_ms
        if pageable is None or copy_ms is None:
            return self.not_evaluated(NOT_IN_TRACE)
        if pageable < self.least_pageable.value:
            return None
        copied_mib = (trace.to_device_bytes or 0.0) / (1 << 20)
        return self.judge_time(
            trace,
            copy_ms,
            "exposed copies to the device / step",
            {"pageable": pageable, "copied_mib": copied_mib, "copy_ms": copy_ms},
            [("pageable / copied bytes", pageable, "share", self.least_pageable.value)],
            [_advice(measured, copy_ms)],
        )


def _advice(measured: Measurements, copy_ms: float) -> Advice:
    is_off = measured.loader_setting("pin_memory") == 0
    key = measured.loader_key("pin_memory")
    return Advice(
        text=PIN,
        config_change=ConfigChange(key=key, current=False, proposed=True) if is_off else None,
        predicted_gain=up_to(copy_ms),
        verify=say(VERIFY, sign=SIGN),
    )
