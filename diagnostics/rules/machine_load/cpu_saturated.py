"""MA001: all cores are busy while the GPU waits for data."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, RECORD_MACHINE, device_unknown, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "More loader processes cannot help on full cores: spare them work. Cache what is decoded, "
    "compute voxels beforehand, or use a machine with more cores for each GPU."
)


class CpuSaturated(Rule):
    """The machine's CPU at its limit in a GPU run."""

    code = "MA001"
    name = "cpu-saturated"
    explains = ("DL001", "GP001")
    summary = (
        "The machine's cores are {cpu:.0f} % busy (p95) while {share:.1%} of each step waits for "
        "data."
    )
    docs = """
## What it measures
The 95th percentile of the use of all cores together, beside the wait for data that no GPU work
hides.

## Why it matters
With every core at work the loader cannot make batches faster, whatever the number of its
processes: the GPU waits for the CPU.

## What to try
Less work for each sample: a cache of decoded frames, voxels computed beforehand, smaller crops
before costly transforms. Look at the report's table of what a worker spends its time on.

## False alarms
Full cores without a wait cost nothing; that is a note. On a CPU the training itself fills the
cores, and the rule does not look.
"""
    at_note: ClassVar[Threshold]
    wait_share: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Full cores, and a step that waits."""
        if measured.device == "cpu":
            return self.not_evaluated("on a CPU the training itself fills the cores")
        if measured.device is None:
            return self.not_evaluated(device_unknown("the machine's CPU"), RECORD_FACTS)
        cpu, wait_ms = measured.host_cpu_p95_percent, measured.data_wait_exposed_ms
        if cpu is None or wait_ms is None or not measured.step_ms:
            return self.not_evaluated("CPU use or the wait is not known", RECORD_MACHINE)
        if cpu < self.at_note.value:
            return None
        share = wait_ms / measured.step_ms
        waits = share >= self.wait_share.value
        source = measured.source("host_cpu_p95_percent")
        return self.finding(
            Severity.WARN if waits else Severity.NOTE,
            {"cpu": cpu, "share": share},
            (
                row("CPU of the machine, p95", cpu, "percent", self.at_note, source),
                row(
                    "exposed data wait / step",
                    share,
                    "share",
                    self.wait_share,
                    measured.source("data_wait_exposed_ms"),
                ),
            ),
            (Advice(text=_ADVICE, verify=verify("data_wait below 5 % of the step")),),
            cost_ms_per_step=wait_ms if waits else None,
        )
