"""DL003: batches are copied to the GPU from memory that is not pinned."""

from typing import ClassVar

from diagnostics.rules.finding import Advice, ConfigChange, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU, RECORD_FACTS, device_unknown, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

SIGN = "all copies from pinned memory, h2d shorter"


class CopiesNotPinned(Rule):
    """The share of copied bytes that lay in pinned memory."""

    code = "DL003"
    name = "copies-not-pinned"
    summary = (
        "Only {pinned_share:.1%} of what each step copies to the GPU ({copied_mib:.1f} MiB) is in "
        "pinned memory; for the rest the host waits until it is copied."
    )
    docs = """
## What it measures
Of the bytes that the step copies from the host to the GPU, the share that lies in pinned
(page-locked) memory, asked of every tensor before it is copied.

## Why it matters
Only pinned memory is copied while the host goes on, and at the full speed of the bus. From ordinary
memory the driver copies twice, and `non_blocking=True` has no effect.

## What to try
`DATALOADER.PIN_MEMORY: true`, in other trainers `DataLoader(pin_memory=True)`. A batch class of
one's own needs a method `pin_memory()`, or its tensors are left as they are.

## False alarms
Small batches are copied in microseconds either way: the finding is a warning only where the copies
take a visible share of the step. Pinned memory cannot be swapped out; with very little memory it
may be left off on purpose.
"""
    at_note: ClassVar[Threshold]
    copy_share: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the pinned share with all of it, and the copies with the step."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        if measured.device is None:
            return self.not_evaluated(device_unknown("pinned memory"), RECORD_FACTS)
        pinned, copied = measured.copied_pinned_share, measured.copied_bytes_per_step
        if pinned is None or copied is None:
            return self.not_evaluated("no copy to the GPU was recorded", RECORD_FACTS)
        if pinned >= self.at_note.value:
            return None
        h2d_share = measured.phase_share("h2d")
        visible = h2d_share is not None and h2d_share >= self.copy_share.value
        return self.finding(
            Severity.WARN if visible else Severity.NOTE,
            {"pinned_share": pinned, "copied_mib": copied / (1 << 20)},
            (
                Evidence(
                    metric="pinned / copied bytes",
                    value=pinned,
                    unit="share",
                    limit=self.at_note.value,
                    source=measured.source("copied_pinned_share"),
                ),
                Evidence(
                    metric="copies / step",
                    value=h2d_share,
                    unit="share",
                    limit=self.copy_share.value,
                    source=measured.source("phase_ms"),
                ),
            ),
            (_advice(measured),),
            cost_ms_per_step=measured.phase_ms.get("h2d"),
        )


def _advice(measured: Measurements) -> Advice:
    if measured.loader_setting("pin_memory") == 0:
        return Advice(
            text="Pin the batches in memory, so that copies to the GPU overlap with its work.",
            config_change=ConfigChange(
                key=measured.loader_key("pin_memory"), current=False, proposed=True
            ),
            verify=verify(SIGN),
        )
    return Advice(
        text="Pin what is copied: DataLoader(pin_memory=True), and a method `pin_memory()` for a "
        "batch class of your own.",
        verify=verify(SIGN),
    )
