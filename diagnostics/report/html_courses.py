"""Small charts of memory and use of the machine, several in a row, each on its own scale."""

from collections.abc import Sequence

from diagnostics.language import say
from diagnostics.report import html_words as words
from diagnostics.report.html_axes import (
    Scale,
    duration,
    from_zero,
    step_ticks,
    time_ticks,
    value_label,
    value_ticks,
)
from diagnostics.report.html_markup import Markup, element
from diagnostics.report.html_plot import Canvas, Hit, Plot, draw_plot
from diagnostics.report.html_table import folded_table
from diagnostics.report.html_words import word
from diagnostics.report.series_buckets import Bucket
from diagnostics.report.series_resources import Axis, Course

HEIGHT = 84
MAX_COURSES = 24
_COLOURS = {
    "device memory": 3,
    "host memory": 1,
    "CPU use": 4,
    "GPU use": 2,
    "GPU power": 5,
    "multiprocessors active": 6,
}
_NEAR = 1.5
"""A limit farther above the peak than this would flatten the course: it is told, not drawn."""


def courses_parts(courses: Sequence[Course]) -> list[Markup]:
    """The courses as a grid; of many the first, and how many more there are."""
    if not courses:
        return []
    shown = courses[:MAX_COURSES]
    scales = {axis: _along(shown, axis) for axis in {each.axis for each in shown}}
    drawn = [_figure(each, scales[each.axis]) for each in shown]
    parts = [element("div", drawn, class_="courses")]
    if len(courses) > len(shown):
        left = say(words.COURSES_LEFT_OUT, count=len(courses) - len(shown))
        parts.append(element("p", left, class_="dim"))
    return parts


def _along(courses: Sequence[Course], axis: Axis) -> Scale:
    """One x axis for all, so that what happened at one time stands at one place."""
    known = [each for each in courses if each.axis == axis]
    return Scale(
        min(each.buckets[0].first for each in known), max(each.buckets[-1].last for each in known)
    )


def _figure(course: Course, x: Scale) -> Markup:
    says = _says(course)
    y = _scale(course)
    canvas = Canvas(x, y, HEIGHT)
    colour = _COLOURS[course.kind]
    has_limit = course.limit is not None and course.unit != "percent" and course.limit <= y.high
    plot = Plot(
        name=say(words.NAMED, name=_title(course), says=says),
        height=HEIGHT,
        x_ticks=(time_ticks if course.axis == "s" else step_ticks)(x, 3),
        y_ticks=value_ticks(y, course.unit, 2),
        marks=(
            canvas.ribbon(course.buckets, colour),
            canvas.line(course.buckets, colour),
            canvas.level(course.limit) if has_limit and course.limit is not None else Markup(""),
        ),
        hits=[Hit(x.place(b.start), x.place(b.end), _at(course, b)) for b in course.buckets],
    )
    return element(
        "figure",
        element("figcaption", element("strong", _title(course)), " ", says),
        draw_plot(plot),
        _table(course),
    )


def _title(course: Course) -> str:
    what = course.name or word(words.COURSE_KIND, course.kind)
    return say(words.COURSE_TITLE, what=what, owner=course.owner)


def _says(course: Course) -> str:
    limit = course.limit if course.unit != "percent" else None
    return say(
        words.COURSE_SAYS if limit is None else words.COURSE_SAYS_LIMIT,
        low=value_label(min(each.low for each in course.buckets), course.unit),
        high=value_label(course.peak, course.unit),
        last=value_label(course.buckets[-1].mean, course.unit),
        limit=None if limit is None else value_label(limit, course.unit),
    )


def _scale(course: Course) -> Scale:
    if course.unit == "percent" and course.peak <= (course.limit or 0.0):
        return Scale(0.0, course.limit or 100.0)
    near = course.limit is not None and course.peak <= course.limit <= _NEAR * course.peak
    return from_zero(course.limit if near and course.limit is not None else course.peak)


def _place(course: Course, bucket: Bucket) -> str:
    if course.axis == "s":
        return duration(bucket.first)
    return say(words.STEP_ONE, first=f"{bucket.first:.0f}")


def _at(course: Course, bucket: Bucket) -> str:
    value, low, high = (
        value_label(each, course.unit) for each in (bucket.mean, bucket.low, bucket.high)
    )
    template = words.ONE_VALUE if bucket.count == 1 else words.SPREAD_VALUE
    return say(template, where=_place(course, bucket), value=value, low=low, high=high)


def _table(course: Course) -> Markup:
    rows = [
        (
            _place(course, each),
            *(value_label(value, course.unit) for value in (each.low, each.mean, each.high)),
        )
        for each in course.buckets
    ]
    header = (
        words.WHEN if course.axis == "s" else words.STEP,
        words.LOWEST,
        words.AVERAGE,
        words.HIGHEST,
    )
    return folded_table(_title(course), header, rows, (0,))
