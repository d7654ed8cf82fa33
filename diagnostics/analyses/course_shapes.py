"""The shape of every memory of a run, beside what happened in it. Pure."""

from collections.abc import Sequence

import numpy as np

from diagnostics.analyses.course_shape import CourseShape, course_shape
from diagnostics.analyses.distribution import Floats
from diagnostics.analyses.memory_course import MemoryCourse
from diagnostics.run import Run

SPANS = ("validation", "checkpoint")
EPOCH = "epoch"


def compute_course_shapes(run: Run, courses: Sequence[MemoryCourse]) -> tuple[CourseShape, ...]:
    """One for each course, in their order: over steps where most points have one."""
    marks = _marks(run)
    return tuple(_shape(course, marks) for course in courses)


def _shape(course: MemoryCourse, marks: dict[str, Floats]) -> CourseShape:
    sizes = np.array([point.size_bytes for point in course.points])
    steps = _floats([point.step for point in course.points])
    times = _floats([point.at_unix_s for point in course.points])
    if np.isnan(steps).mean() <= 0.5:
        known = ~np.isnan(steps)
        return course_shape(steps[known], sizes[known], "steps", marks)
    known = ~np.isnan(times)
    return course_shape(times[known], sizes[known], "s")


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype="float64")


def _marks(run: Run) -> dict[str, Floats]:
    """Steps after which an epoch, a validation or a checkpoint was."""
    events, spans = run.tables.events, run.tables.spans
    found = {EPOCH: events.loc[events["name"] == EPOCH, "step"]}
    found |= {name: spans.loc[spans["name"] == name, "step"] for name in SPANS}
    return {
        name: np.unique(steps.dropna().to_numpy(dtype="float64")) for name, steps in found.items()
    }
