"""Charts as inline SVG that fills any width: marks stretch, text and strokes do not.

Every plot is one picture with a name; what it shows also stands in a table beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diagnostics.report.html_axes import Scale, Tick
from diagnostics.report.html_markup import Markup, element, join, number, text
from diagnostics.report.series_buckets import Bucket

WIDTH = 1000.0
"""Of the stretched part, in its own units."""
TOP, BOTTOM, LEFT = 8, 24, 68
NARROWEST = 0.004
"""The least share of the width that a pointer can find."""


@dataclass(frozen=True)
class Hit:
    """A stretch of the x axis and what is read there."""

    start: float
    end: float
    says: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What a plot consists of; places are shares of its width, heights are pixels.

    `marks` are drawn in a box of `WIDTH` by `height` that is stretched to the page's width,
    `symbols` above it without being stretched. `name` tells a screen reader what is to be seen.
    """

    name: str
    height: int
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    marks: Iterable[Markup] = ()
    symbols: Iterable[Markup] = ()
    hits: Sequence[Hit] = ()


def draw_plot(plot: Plot) -> Markup:
    """The plot: the labels of its y axis, and beside them grid, marks and the x axis."""
    full = TOP + plot.height + BOTTOM
    labels = element(
        "svg",
        [_y_label(tick, plot.height) for tick in plot.y_ticks],
        class_="axis",
        width=LEFT,
        height=full,
    )
    stretched = element(
        "svg",
        *plot.marks,
        y=TOP,
        width="100%",
        height=plot.height,
        viewBox=f"0 0 {number(WIDTH)} {plot.height}",
        preserveAspectRatio="none",
    )
    area = element(
        "svg",
        [_grid_line(tick, plot.height) for tick in plot.y_ticks],
        stretched,
        [_x_label(tick, plot.height) for tick in plot.x_ticks],
        *plot.symbols,
        element("g", [_hit(each, plot.height) for each in _in_order(plot.hits)], class_="hits"),
        class_="area",
        width="100%",
        height=full,
    )
    return element("div", labels, area, class_="plot", role="img", aria_label=text(plot.name))


def _in_order(hits: Sequence[Hit]) -> list[Hit]:
    """From left to right, the narrower of two after, and so above, the wider."""
    return sorted(hits, key=lambda each: (each.start, -each.end))


def percent(share: float) -> str:
    """A share as SVG spells a length."""
    return f"{share * 100:.2f}%"


def _pixel(place: float, height: int) -> float:
    """From the top of the drawing to a share of the y axis."""
    return TOP + (1 - place) * height


def _y_label(tick: Tick, height: int) -> Markup:
    y = _pixel(tick.place, height) + 4
    return element("text", tick.label, x=LEFT - 8, y=y, text_anchor="end")


def _grid_line(tick: Tick, height: int) -> Markup:
    y = round(_pixel(tick.place, height)) + 0.5
    return element("line", class_="base" if tick.place == 0 else "grid", x2="100%", y1=y, y2=y)


def _x_label(tick: Tick, height: int) -> Markup:
    anchor = "start" if tick.place < 0.06 else "end" if tick.place > 0.94 else "middle"
    y = TOP + height + 17
    return element("text", tick.label, x=percent(tick.place), y=y, text_anchor=anchor)


def _hit(hit: Hit, height: int) -> Markup:
    return element(
        "rect",
        element("title", hit.says),
        x=percent(hit.start),
        y=TOP,
        width=percent(max(hit.end - hit.start, NARROWEST)),
        height=height,
    )


def symbol(place: float, value: float, height: int, shape: str) -> Markup:
    """A `dot` or a triangle (`up`) at shares of both axes; of its own size at any width."""
    y = _pixel(value, height)
    if shape == "dot":
        return element("circle", class_="tagged", cx=percent(place), cy=y, r=4)
    triangle = element("path", class_="clipped", d="M0 0L5 8L-5 8Z")
    return element("svg", triangle, x=percent(place), y=y - 4, overflow="visible")


@dataclass(frozen=True)
class Canvas:
    """Turns values into the coordinates of the stretched part."""

    x: Scale
    y: Scale
    height: int

    def across(self, value: float) -> str:
        """An x coordinate."""
        return f"{self.x.place(value) * WIDTH:.1f}".removesuffix(".0")

    def up(self, value: float) -> str:
        """A y coordinate."""
        return f"{(1 - self.y.place(value)) * self.height:.1f}".removesuffix(".0")

    def stairs(self, buckets: Sequence[Bucket], colour: int) -> Markup:
        """The means as a line of steps, broken where buckets are missing."""
        parts: list[str] = []
        end = None
        for each in buckets:
            goes_on = each.start == end
            start = f"V{self.up(each.mean)}" if goes_on else self._move(each.start, each.mean)
            parts.append(f"{start}H{self.across(each.end)}")
            end = each.end
        return element("path", class_=("line", f"l{colour}"), d=Markup("".join(parts)))

    def band(self, buckets: Sequence[Bucket], colour: int) -> Markup:
        """From the lowest to the highest value of each bucket."""
        parts = [self._box(each.start, each.end, each.low, each.high) for each in buckets]
        return element("path", class_=f"b{colour}", d=Markup("".join(parts)))

    def line(self, buckets: Sequence[Bucket], colour: int) -> Markup:
        """The means joined by straight lines."""
        points = [self._point(_middle(each), each.mean) for each in buckets]
        return element("path", class_=("line", f"l{colour}"), d=Markup("M" + "L".join(points)))

    def ribbon(self, buckets: Sequence[Bucket], colour: int) -> Markup:
        """From the lowest to the highest value, joined by straight lines."""
        there = [self._point(_middle(each), each.high) for each in buckets]
        back = [self._point(_middle(each), each.low) for each in reversed(buckets)]
        around = Markup("M" + "L".join([*there, *back]) + "Z")
        return element("path", class_=f"b{colour}", d=around)

    def boxes(
        self, buckets: Sequence[Bucket], lows: Sequence[float], highs: Sequence[float], colour: int
    ) -> Markup:
        """One layer of a stack."""
        each = zip(buckets, lows, highs, strict=True)
        parts = [self._box(bucket.start, bucket.end, low, high) for bucket, low, high in each]
        return element("path", class_=f"f{colour}", d=Markup("".join(parts)))

    def level(self, value: float) -> Markup:
        """A dashed line across, such as a limit."""
        return element("path", class_="limit", d=f"M0 {self.up(value)}H{number(WIDTH)}")

    def _move(self, x: float, y: float) -> str:
        return f"M{self._point(x, y)}"

    def _point(self, x: float, y: float) -> str:
        return f"{self.across(x)} {self.up(y)}"

    def _box(self, start: float, end: float, low: float, high: float) -> str:
        if high <= low:
            return ""
        return f"{self._move(start, high)}H{self.across(end)}V{self.up(low)}H{self.across(start)}Z"


def _middle(bucket: Bucket) -> float:
    return (bucket.first + bucket.last) / 2


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """What each colour or symbol stands for, as (class of the swatch, words)."""
    items = [
        element(
            "li",
            element("svg", _swatch(kind), width=14, height=12, aria_hidden="true", class_="swatch"),
            words,
        )
        for kind, words in entries
    ]
    return element("ul", items, class_="legend")


def _swatch(kind: str) -> Markup:
    if kind == "tagged":
        return element("circle", class_=kind, cx=7, cy=6, r=4)
    if kind.startswith("l"):
        return element("line", class_=("line", kind), x1=0, x2=14, y1=6, y2=6)
    return element("rect", class_=kind, width=14, height=12, rx=2)


def bar(segments: Iterable[tuple[float, int]]) -> Markup:
    """A bar of segments (share of the whole width, colour), one after the other."""
    rects, at = [], 0.0
    for share, colour in segments:
        wide = min(max(share, 0.0), 1.0 - at)
        if wide > 0:
            rects.append(
                element(
                    "rect", class_=f"f{colour}", x=percent(at), width=percent(wide), height="100%"
                )
            )
        at += wide
    return element("svg", join(*rects), class_="bar", width="100%", height=8, aria_hidden="true")
