"""Everything that charts of a report draw, made from a run and its analysis. Pure."""

from dataclasses import dataclass

from diagnostics.analyses.trace_tables import with_trace_tables
from diagnostics.report.model import Report
from diagnostics.report.series_ranks import RankLanes, compute_rank_lanes
from diagnostics.report.series_resources import Course, load_courses, memory_courses
from diagnostics.report.series_steps import StepSeries, compute_step_series
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class RunSeries:
    """Downsampled series: their number and size do not grow with the length of the run."""

    steps: StepSeries | None = None
    memory: tuple[Course, ...] = ()
    load: tuple[Course, ...] = ()
    lanes: RankLanes | None = None


def compute_series(run: Run, report: Report) -> RunSeries:
    """The series of the run; opens no file."""
    run = with_trace_tables(run, report.analysis.traces)
    order = tuple(dict.fromkeys(phase.name for phase in (*report.phases, *report.host_phases)))
    return RunSeries(
        steps=compute_step_series(run, report.analysis.breakdown.clock, order),
        memory=memory_courses(report.analysis.memory),
        load=load_courses(run),
        lanes=compute_rank_lanes(run),
    )
