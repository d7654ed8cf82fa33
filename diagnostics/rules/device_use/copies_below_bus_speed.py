"""GP007: pinned copies to the GPU are slower than a full-width bus."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_ON_CPU, RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

MIB, GB = 1 << 20, 1e9
_ADVICE = (
    "`nvidia-smi -q` on the machine (section PCI, Link Width and Generation, current against "
    "max) shows whether the slot gives the GPU all its lanes; `nvidia-smi topo -m` whether the "
    "process runs on the GPU's own NUMA node."
)


class CopiesBelowBusSpeed(Rule):
    """Bytes copied in a step, by the device time of the copy."""

    code = "GP007"
    name = "copies-below-bus-speed"
    summary = (
        "Copies to the GPU run at {rate:.1f} GB/s from pinned memory, {h2d_ms:.2f} ms of each step "
        "({share:.1%})."
    )
    docs = """
## What it measures
The bytes that a step copies to the GPU, divided by the device time of its copying phase, where
all of them lie in pinned memory.

## Why it matters
A GPU in a slot with a quarter of its lanes, or on the other processor's bus, copies several times
slower, and nothing in the training shows why.

## What to try
Another slot, the right NUMA node, fewer bytes (uint8 frames that the GPU makes floats of).

## False alarms
Many small tensors are copied slower than one large one: the rule looks at steps of several MiB
only. Virtual machines may hide the true width.
"""
    slow: ClassVar[Threshold]
    least_mib: ClassVar[Threshold]
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the rate with that of a bus."""
        if measured.device == "cpu":
            return self.not_evaluated(NOT_ON_CPU)
        copied, h2d_ms = measured.copied_bytes_per_step, measured.phase_ms.get("h2d")
        share, pinned = measured.phase_share("h2d"), measured.copied_pinned_share
        if copied is None or not h2d_ms or share is None or measured.clock != "device":
            return self.not_evaluated("copies were not timed on the device", RECORD_FACTS)
        if pinned is None or pinned < 1:
            return self.not_evaluated("not all copies are from pinned memory (rule DL003)")
        rate = copied / GB / (h2d_ms / 1000)
        if copied < self.least_mib.value * MIB or rate >= self.slow.value:
            return None
        if share < self.at_note.value:
            return None
        source = measured.source("copied_bytes_per_step")
        full_speed_ms = copied / GB / (2 * self.slow.value) * 1000
        return self.finding(
            Severity.WARN if share >= self.at_warn.value else Severity.NOTE,
            {"rate": rate, "h2d_ms": h2d_ms, "share": share},
            (
                row("copies to the GPU, GB/s", rate, "", self.slow, source),
                row("copied in a step", copied, "bytes", self.least_mib.value * MIB, source),
                row("copies / step", share, "share", self.at_note, measured.source("phase_ms")),
            ),
            (Advice(text=_ADVICE, verify=verify("h2d shorter")),),
            cost_ms_per_step=max(0.0, h2d_ms - full_speed_ms),
        )
