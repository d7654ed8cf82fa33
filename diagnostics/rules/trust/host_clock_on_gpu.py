"""TR003: a GPU's stages were timed with the host's clock."""

from typing import ClassVar

from diagnostics.language import listed, say
from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, device_unknown, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

DEVICE_PHASES = ("h2d", "forward", "loss", "backward", "optimizer")
"""Phases that a GPU works off later; step and wait for data are the host's to time."""


class HostClockOnGpu(Rule):
    """Stage or phase times of a GPU run that no CUDA event stands behind."""

    code = "TR003"
    name = "host-clock-on-gpu"
    summary = (
        "The {what} times of this GPU run come from the host's clock: they measure how fast work "
        "was queued, not how long it took."
    )
    docs = """
## What it measures
Which clock the times of phases and stages come from, in a run on a GPU.

## Why it matters
A GPU works asynchronously: the host queues a stage in microseconds and waits somewhere later. The
stage where it waits gets the time of all the others. A ranking of such times points at a random
place. The step as a whole and the wait for data are things of the host, which its clock times
rightly.

## What to try
Record with this trainer, which takes CUDA events, or with --profile.

## False alarms
A trainer that synchronises around every stage gives right times by the host's clock, and a slower
run; a log does not show that.
"""
    on_host: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Look at the clock of stages and phases."""
        of_device = set(measured.phase_ms) & set(DEVICE_PHASES)
        clocks = {
            "stage": measured.stage_clock if measured.stage_ms else None,
            "phase": measured.clock if of_device else None,
        }
        if measured.device == "cpu":
            return None
        if all(clock is None for clock in clocks.values()):
            return self.not_evaluated("no phase or stage was measured", RECORD_FACTS)
        if measured.device is None and not measured.is_unsynchronised:
            return self.not_evaluated(device_unknown("the clock"), RECORD_FACTS)
        on_host = [name for name, clock in clocks.items() if clock == "host"]
        if len(on_host) < self.on_host.value:
            return None
        return self.finding(
            Severity.CRITICAL,
            {"what": listed(on_host, " and ")},
            tuple(
                Evidence(
                    metric=say("clock of the {name} times", name=name),
                    value="host",
                    unit="",
                    source=measured.source(f"{name}_ms"),
                )
                for name in on_host
            ),
            (
                Advice(
                    text="Do not trust the order of stages in this report; give the facts folder, "
                    "or record again.",
                    verify=verify("clock: device"),
                ),
            ),
        )
