"""What each plan is predicted to do on this machine, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.plan_table import PlanRow, Prediction
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.model import Report
from diagnostics.rules.machine_load.machine_contended import MachineContended

TITLE = "Plans on this machine, predicted from this run"
BASIS = "From the stage times of {name}: a step of {ms} ms."
MIXTURE = (
    "Of the stages' time {flops} goes with their FLOPs, {moved} with the bytes they move, {layers} "
    "with the number of their layers."
)
CROWDED = (
    "Other programs slowed that run (MA002), and the predictions with it: by themselves the plans "
    "would be faster."
)
CAVEAT = "- {name}: {reason}"
NOT_EVALUATED = "Not evaluated: {reason}."
LEGEND = (
    "A step does the plan's own number of samples; compare samples/s. Memory is predicted for one "
    "rank. 'measured' is the newest run of the plan below the profiles folder on the same device, "
    "'off' the prediction over it."
)


def plans_section(report: Report) -> Iterator[RenderableType]:
    """Nothing where nobody asked for it."""
    plans = report.plans
    if plans is None:
        return
    yield heading(TITLE)
    if plans.run_step_ms is not None:
        name = plans.run_id or "this run"
        yield indented(say(BASIS, name=name, ms=units.ms(plans.run_step_ms)))
        if any(each.rule == MachineContended.code for each in report.findings):
            yield indented(CROWDED, style="yellow")
    for reason in plans.reasons:
        yield indented(say(NOT_EVALUATED, reason=reason))
    if not plans.rows:
        return
    if plans.mixture is not None:
        flops, moved, layers = (units.share(each) for each in plans.mixture)
        yield indented(say(MIXTURE, flops=flops, moved=moved, layers=layers))
    rows = make_table("plan", "step ms", "low", "high", "samples/s", "memory", "measured", "off")
    for each in plans.rows:
        add_row(rows, *_cells(each))
    yield Padding(rows, (1, 0, 0, 2))
    for each in plans.rows:
        for reason in each.reasons:
            yield indented(say(CAVEAT, name=each.label, reason=reason))
    yield indented(LEGEND, style="dim")


def _cells(row: PlanRow) -> tuple[str, ...]:
    rate = row.samples_per_s
    return (
        row.label,
        *_times(row.step_ms),
        units.rate(rate.mid if rate else None),
        units.size(row.memory_bytes),
        units.number(row.measured.step_ms if row.measured else None, 0),
        units.UNKNOWN if row.error_share is None else f"{row.error_share:+.0%}",
    )


def _times(found: Prediction | None) -> tuple[str, ...]:
    values = (found.mid, found.low, found.high) if found else (None, None, None)
    return tuple(units.number(value, 0) for value in values)
