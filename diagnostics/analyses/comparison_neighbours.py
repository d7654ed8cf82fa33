"""Two runs beside other programs: who had the cores in each, and the processor time of a step."""

from dataclasses import dataclass

from diagnostics.analyses.comparison_series import StepSeries
from diagnostics.analyses.core_use import CoreUse, compute_core_use, own_cores
from diagnostics.analyses.selection import select_ordinary
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class SideLoad:
    """One run among others.

    `use` is that of its most crowded machine, None where the cores or the processes were not
    sampled. `step_cpu_ms` is the processor time of all of the run's processes for an ordinary step:
    the cores that they kept busy while it trained, times the step; None where one is not known.
    """

    use: CoreUse | None = None
    step_cpu_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Both runs among others. `is_on_cpu` says that the steps of both are computed on the cores."""

    before: SideLoad
    after: SideLoad
    is_on_cpu: bool

    @property
    def step_cpu_share(self) -> float | None:
        """The change of a step's processor time over that of the baseline."""
        before, after = self.before.step_cpu_ms, self.after.step_cpu_ms
        return (after - before) / before if before and after is not None else None


def compare_neighbours(
    before: Run, after: Run, steps: tuple[StepSeries, StepSeries] | None
) -> Neighbours:
    """Both runs' machines; `steps` are their ordinary steps, None where they share no clock."""
    sides = [
        SideLoad(
            use=max(compute_core_use(run), key=lambda use: use.foreign_share, default=None),
            step_cpu_ms=None if steps is None else _step_cpu_ms(run, steps[place]),
        )
        for place, run in enumerate((before, after))
    ]
    kinds = [run.info.device.get("type") for run in (before, after)]
    return Neighbours(before=sides[0], after=sides[1], is_on_cpu=kinds == ["cpu", "cpu"])


def _step_cpu_ms(run: Run, steps: StepSeries) -> float | None:
    """Validations and whatever else lies between the ordinary steps are taken to be as busy."""
    starts = select_ordinary(run.tables.steps).rows["start_unix_s"].dropna()
    if not len(starts) or not steps.weights.sum() > 0:
        return None
    rows = run.tables.processes
    cores = own_cores(rows[rows["at_unix_s"].between(starts.min(), starts.max())])
    if cores is None:
        return None
    return cores * float((steps.whole_ms * steps.weights).sum() / steps.weights.sum())
