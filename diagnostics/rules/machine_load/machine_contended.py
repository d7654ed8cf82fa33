"""MA002: other programs use the cores that the run needs."""

from typing import ClassVar

from diagnostics.rules.data_loading.room_for_workers import waits_mostly
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import NOT_SAMPLED, RECORD_MACHINE, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "Run alone, or give the run cores of its own (taskset, or a CPU limit for the others); compare "
    "times of this run with those of another one only when both had the machine for themselves."
)


class MachineContended(Rule):
    """Cores that neither the trainer nor its loading processes use, on a full machine."""

    code = "MA002"
    name = "machine-contended"
    explains = ("CF006", "CF004")
    lies_outside = True
    summary = (
        "Other programs keep {foreign:.1f} of {cores} cores busy ({busy:.0%} of the machine in "
        "use, {own:.1f} cores by this run): its times are longer than they would be alone."
    )
    docs = """
## What it measures
The cores in use on the machine less those that the trainer's own processes use, on average over
the samples. In a container the others may be outside of it.

## Why it matters
Steps take longer and scatter, and the comparison with another run compares the neighbours. No
advice about the training itself can be trusted before that is settled.

## What to try
A quiet machine, or cores set apart for the run.

## False alarms
Neighbours on cores that nobody else wants cost nothing: below a nearly full machine the finding
is a note at most. A program that the trainer started itself counts as the run's own.
"""
    foreign: ClassVar[Threshold]
    busy: ClassVar[Threshold]
    at_note: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Others' cores against all of them."""
        foreign, cores = measured.foreign_cores, measured.machine_cores
        busy, own = measured.busy_cores, measured.own_cores
        if foreign is None or not cores or busy is None or own is None:
            return self.not_evaluated(NOT_SAMPLED, RECORD_MACHINE)
        share, full = foreign / cores, busy / cores
        contended = share >= self.foreign.value and full >= self.busy.value
        if not contended and share < self.at_note.value:
            return None
        source = measured.source("foreign_cores")
        return self.finding(
            Severity.WARN if contended else Severity.NOTE,
            {"foreign": foreign, "cores": cores, "busy": full, "own": own},
            (
                row("cores used by others / all", share, "share", self.foreign, source),
                row("cores in use / all", full, "share", self.busy, source),
                row("time in which a task waited for a core", measured.cpu_stall_share, "share"),
            ),
            (Advice(text=_ADVICE, verify=verify("no machine-contended")),),
            cost_ms_per_step=_cost_ms(measured, foreign, own) if contended else None,
        )


def _cost_ms(measured: Measurements, foreign: float, own: float) -> float | None:
    """What sharing cores takes of a CPU run's step at most; of a GPU's it is unknown.

    Alone on the cores that both use now, a run limited by cores would be (own + foreign) / own
    times as fast. How few of them it gets beside the others says nothing of how many it wants.
    """
    if measured.device != "cpu" or not measured.step_ms or foreign + own <= 0:
        return None
    computed_ms = measured.step_ms - _storage_wait_ms(measured)
    return max(0.0, computed_ms) * foreign / (foreign + own)


def _storage_wait_ms(measured: Measurements) -> float:
    """A wait for batches whose making waits for a disk or a network: no core shortens it."""
    return (measured.data_wait_exposed_ms or 0.0) if waits_mostly(measured) else 0.0
