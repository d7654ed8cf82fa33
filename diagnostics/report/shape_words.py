"""The shape of a memory's course, in words."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from diagnostics.analyses.course_shape import LEAST_BYTES, LEAST_SHARE, CourseShape
from diagnostics.analyses.growth_trend import WARM_UP_SHARE
from diagnostics.language import listed, say
from diagnostics.report import units
from diagnostics.report.model import Report

_QUIET = ("too short",)
STEADY = (
    "Steady after its first {warm_up:.0%} (lowest and highest less than {least} apart, or "
    "{share:.0%} of the median): {names}."
)


def shape_lines(report: Report) -> Iterator[str]:
    """One sentence for each course that can be told, those that are steady together."""
    pairs = list(zip(report.analysis.memory, report.analysis.memory_shapes, strict=True))
    steady = [
        say("{name} of {owner}", name=course.name, owner=course.owner)
        for course, shape in pairs
        if shape.kind == "steady"
    ]
    if steady:
        yield say(
            STEADY,
            warm_up=WARM_UP_SHARE,
            least=units.size(LEAST_BYTES),
            share=LEAST_SHARE,
            names=listed(steady),
        )
    for course, shape in pairs:
        if shape.kind not in ("steady", *_QUIET):
            yield say(
                "{name} of {owner}: {shape}",
                name=course.name,
                owner=course.owner,
                shape=describe_shape(shape),
            )


def memory_mappings(report: Report) -> list[dict[str, Any]]:
    """For a JSON report: every course with its shape."""
    pairs = zip(report.analysis.memory, report.analysis.memory_shapes, strict=True)
    return [{**asdict(course), "shape": asdict(shape)} for course, shape in pairs]


def describe_shape(shape: CourseShape) -> str:
    """What it does, with the numbers."""
    if shape.kind == "creep":
        return say(
            "creeps up by {rate} per {unit}, {rise} over the last {span}",
            rate=units.size(shape.per_unit_bytes),
            unit=_one(shape),
            rise=units.size(shape.rise_bytes),
            span=_span(shape),
        )
    if shape.kind == "settling":
        return say("rises ever more slowly, {rise} so far", rise=units.size(shape.rise_bytes))
    if shape.kind == "steps":
        return _steps(shape)
    if shape.kind == "saw-tooth":
        return _teeth(shape)
    if shape.kind == "uneven":
        return say(
            "uneven, its lowest and highest {spread} apart",
            spread=units.size(shape.spread_bytes),
        )
    return shape.kind


def _one(shape: CourseShape) -> str:
    return "step" if shape.unit == "steps" else "second"


def _span(shape: CourseShape) -> str:
    if shape.unit == "steps":
        return say("{count} step(s)", count=round(shape.span))
    return say("{seconds:.0f} s", seconds=shape.span)


def _steps(shape: CourseShape) -> str:
    jumps = [
        say(
            "{sign}{size} at {at}",
            sign="+" if jump.size_bytes > 0 else "-",
            size=units.size(abs(jump.size_bytes)),
            at=_place(shape, jump.at),
        )
        for jump in shape.jumps
    ]
    more = shape.num_jumps - len(jumps)
    rest = say(" and {more} smaller ones", more=more) if more else ""
    return say("in steps: {jumps}{rest}", jumps=listed(jumps), rest=rest)


def _place(shape: CourseShape, at: float) -> str:
    if shape.unit == "steps":
        return say("step {step:.0f}", step=at)
    return say("{at:.0f} s", at=at)


def _teeth(shape: CourseShape) -> str:
    mark = say(", with each {mark}", mark=shape.mark) if shape.mark else ""
    floor = ""
    if shape.floor_rise_bytes >= 0.5 * shape.tooth_bytes:
        floor = say(
            "; its floor rises, {rise} in all: not all of it is given back",
            rise=units.size(shape.floor_rise_bytes),
        )
    return say(
        "a saw-tooth of {size} every {period:.0f} {unit}{mark}, {count} times{floor}",
        size=units.size(shape.tooth_bytes),
        period=shape.period,
        unit=shape.unit,
        mark=mark,
        count=shape.num_teeth,
        floor=floor,
    )
