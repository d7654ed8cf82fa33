"""The charts of the performance report: steps, phases and ranks over the course of a run."""

from collections.abc import Iterator, Sequence

from diagnostics.language import listed, say
from diagnostics.report import html_words as words
from diagnostics.report import units
from diagnostics.report.html_axes import Scale, from_zero, step_ticks, value_ticks
from diagnostics.report.html_colours import colour_of
from diagnostics.report.html_markup import Markup, element
from diagnostics.report.html_plot import (
    Canvas,
    Hit,
    Plot,
    draw_plot,
    legend,
    percent,
    symbol,
)
from diagnostics.report.html_table import folded_table, table
from diagnostics.report.series_buckets import Bucket
from diagnostics.report.series_ranks import Lane, RankLanes
from diagnostics.report.series_steps import StepSeries, TaggedSteps

STEP_HEIGHT = 180
PHASE_HEIGHT = 200
_CLIP = 3.0
"""What is above so many times a high mean is drawn at the upper edge: one bad step must not
flatten all others."""
_LANE_SHADES = 5


def steps_figure(series: StepSeries) -> Markup:
    """Mean and spread of the steps, and the tagged ones."""
    x = Scale(series.first_step, series.last_step + 1)
    y = from_zero(_top(series))
    canvas = Canvas(x, y, STEP_HEIGHT)
    plot = Plot(
        name=say(words.NAMED, name=words.STEPS_CHART, says=_steps_say(series)),
        height=STEP_HEIGHT,
        x_ticks=step_ticks(x),
        y_ticks=value_ticks(y, "ms"),
        marks=(
            canvas.band(series.buckets, 1),
            canvas.stairs(series.buckets, 1),
        ),
        symbols=_step_symbols(series, x, y),
        hits=[*_step_hits(series.buckets, x), *_tagged_hits(series.tagged, x)],
    )
    entries = [("l1", words.MEAN), ("b1", words.SPREAD)]
    if series.tagged:
        entries.append(("tagged", words.TAGGED))
    return element(
        "figure",
        element(
            "figcaption",
            element("p", _steps_say(series), " ", words.STEPS_EACH),
            element("p", _clipped(series, y)),
        ),
        draw_plot(plot),
        legend(entries),
        _steps_table(series),
    )


def _steps_say(series: StepSeries) -> str:
    shown = series.buckets
    return say(
        words.STEPS_CHART_SAYS,
        first=series.first_step,
        last=series.last_step,
        clock=series.clock,
        buckets=len(shown),
        low=units.ms(min((each.low for each in shown), default=None)),
        high=units.ms(max((each.high for each in shown), default=None)),
    )


def _top(series: StepSeries) -> float:
    """The end of the y axis: the slowest step, unless it dwarfs the means."""
    means = sorted(each.mean for each in series.buckets)
    slowest = [each.high for each in series.buckets] + [each.ms for each in series.tagged]
    if not means:
        return max(slowest, default=1.0)
    usual = means[(len(means) - 1) * 19 // 20]
    return min(max(slowest), _CLIP * usual)


def _clipped(series: StepSeries, y: Scale) -> str | None:
    above = [each.high for each in series.buckets if each.high > y.high]
    above += [each.ms for each in series.tagged if each.ms > y.high]
    if not above:
        return None
    return say(words.STEPS_CLIPPED, count=len(above), ms=units.ms(max(above)))


def _step_symbols(series: StepSeries, x: Scale, y: Scale) -> Iterator[Markup]:
    for each in series.buckets:
        if each.high > y.high:
            yield symbol(x.place((each.start + each.end) / 2), 1.0, STEP_HEIGHT, "up")
    for tagged in series.tagged:
        shape = "up" if tagged.ms > y.high else "dot"
        yield symbol(x.place(tagged.step + 0.5), y.place(tagged.ms), STEP_HEIGHT, shape)


def _step_hits(buckets: Sequence[Bucket], x: Scale) -> Iterator[Hit]:
    for each in buckets:
        template = words.SPREAD_VALUE if each.count > 1 else words.ONE_VALUE
        says = say(
            template,
            where=_steps_of(each),
            value=_in_ms(each.mean),
            low=units.ms(each.low),
            high=units.ms(each.high),
        )
        yield Hit(x.place(each.start), x.place(each.end), says)


def _tagged_hits(tagged: Sequence[TaggedSteps], x: Scale) -> Iterator[Hit]:
    for each in tagged:
        template = words.TAGGED_AT if each.count == 1 else words.TAGGED_MANY
        says = say(template, step=each.step, ms=units.ms(each.ms), tags=each.tags, count=each.count)
        yield Hit(x.place(each.step), x.place(each.step + 1), says)


def _in_ms(value: float) -> str:
    return say(words.IN_MS, ms=units.ms(value))


def _steps_of(bucket: Bucket) -> str:
    template = words.STEP_ONE if bucket.first == bucket.last else words.STEPS_RANGE
    return say(template, first=f"{bucket.first:.0f}", last=f"{bucket.last:.0f}")


def _steps_table(series: StepSeries) -> Markup:
    rows = [
        (each.first, (_steps_of(each), *map(units.ms, (each.low, each.mean, each.high)), ""))
        for each in series.buckets
    ]
    for tagged in series.tagged:
        name = say(words.STEP_ONE, first=tagged.step)
        rows.append((tagged.step, (name, "", "", units.ms(tagged.ms), tagged.tags)))
    ordered = [cells for _, cells in sorted(rows, key=lambda row: row[0])]
    header = (words.STEP, words.MIN_MS, words.MEAN_MS, words.MAX_MS, words.TAGS)
    return folded_table(words.STEPS_CHART, header, ordered, (0, 4))


def phases_figure(series: StepSeries) -> Markup | None:
    """The phases stacked; None where no phase was recorded."""
    if not series.phases:
        return None
    buckets = series.phase_buckets
    x = Scale(series.first_step, series.last_step + 1)
    totals = [sum(values) for values in zip(*(each.ms for each in series.phases), strict=True)]
    usual = sorted(totals)[(len(totals) - 1) * 19 // 20]
    y = from_zero(min(max(totals), _CLIP * usual))
    names = [each.name for each in series.phases]
    plot = Plot(
        name=say(words.NAMED, name=words.PHASES_CHART, says=_phases_say(series)),
        height=PHASE_HEIGHT,
        x_ticks=step_ticks(x),
        y_ticks=value_ticks(y, "ms"),
        marks=_layers(series, Canvas(x, y, PHASE_HEIGHT)),
        hits=[
            Hit(x.place(each.start), x.place(each.end), _phases_at(series, place))
            for place, each in enumerate(buckets)
        ],
    )
    return element(
        "figure",
        element("figcaption", _phases_say(series)),
        draw_plot(plot),
        legend((f"f{colour_of(name, place)}", name) for place, name in enumerate(names)),
        folded_table(
            words.PHASES_CHART,
            (words.STEP, *names),
            [
                (_steps_of(bucket), *(units.ms(each.ms[place]) for each in series.phases))
                for place, bucket in enumerate(buckets)
            ],
            (0,),
        ),
    )


def _phases_say(series: StepSeries) -> str:
    return say(words.PHASES_CHART_SAYS, first=series.first_step, last=series.last_step)


def _phases_at(series: StepSeries, place: int) -> str:
    parts = [
        say(words.PHASE_VALUE, name=each.name, ms=units.ms(each.ms[place]))
        for each in series.phases
    ]
    where = _steps_of(series.phase_buckets[place])
    return say(words.ONE_VALUE, where=where, value=listed(parts))


def _layers(series: StepSeries, canvas: Canvas) -> Iterator[Markup]:
    below = [0.0] * len(series.phase_buckets)
    for number, phase in enumerate(series.phases):
        above = [low + ms for low, ms in zip(below, phase.ms, strict=True)]
        colour = colour_of(phase.name, number)
        yield canvas.boxes(series.phase_buckets, below, above, colour)
        below = above


def lanes_figure(found: RankLanes) -> Markup:
    """One lane for each rank: the stronger its colour, the slower the rank was there."""
    template = words.LANES_OWN if found.is_own else words.LANES_WHOLE
    says = [
        say(template, clock=found.clock),
        say(words.LANES_SCALE, low=units.ms(found.low_ms), high=units.ms(found.high_ms)),
    ]
    if found.num_left_out:
        says.append(say(words.LANES_LEFT_OUT, count=found.num_left_out))
    first = min(bucket.start for lane in found.lanes for bucket in lane.buckets)
    last = max(bucket.end for lane in found.lanes for bucket in lane.buckets)
    rows = [_lane_row(lane, found, Scale(first, last)) for lane in found.lanes]
    header = (words.RANK, words.MIN_MS, words.MEAN_MS, words.MAX_MS)
    return element(
        "figure",
        element("figcaption", [element("p", each) for each in says]),
        table(words.LANES_CHART, header, rows),
        class_="lanes",
    )


def _lane_row(lane: Lane, found: RankLanes, x: Scale) -> tuple[Markup, str, str, str]:
    shades = Scale(found.low_ms, found.high_ms)
    cells = [
        element(
            "rect",
            element("title", _lane_says(each)),
            class_=f"h{min(_LANE_SHADES - 1, int(shades.place(each.mean) * _LANE_SHADES))}",
            x=percent(x.place(each.start)),
            width=percent(x.place(each.end) - x.place(each.start)),
            height="100%",
        )
        for each in lane.buckets
    ]
    strip = element("svg", cells, class_="lane", width="100%", height=16, aria_hidden="true")
    name = element("span", str(lane.rank), strip)
    means = [bucket.mean for bucket in lane.buckets]
    return name, units.ms(min(means)), units.ms(lane.mean_ms), units.ms(max(means))


def _lane_says(bucket: Bucket) -> str:
    return say(words.ONE_VALUE, where=_steps_of(bucket), value=_in_ms(bucket.mean))
