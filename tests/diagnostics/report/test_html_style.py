"""Colours of the page can be told from what is behind them, in light and in dark.

Limits are those of WCAG 2.2: 4.5 for text (1.4.3), 3 for parts of charts (1.4.11).
"""

import re

import pytest

from diagnostics.report.html_page import template

STYLE = template("report.css")
TEXTS = ("text", "dim", "link", "bad", "warn", "good")
MARKS = tuple(f"f{number}" for number in range(1, 9))


def variables(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


LIGHT = variables(STYLE.split("@media", 1)[0])
DARK = LIGHT | variables(STYLE.split("prefers-color-scheme: dark", 1)[1].split("\n}", 1)[0])


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_is_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("behind", ["page", "card"])
@pytest.mark.parametrize("name", TEXTS)
def test_text_can_be_read(theme: dict[str, str], behind: str, name: str) -> None:
    assert contrast(theme[name], theme[behind]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["critical", "warn", "note"])
def test_labels_can_be_read(theme: dict[str, str], name: str) -> None:
    assert contrast(theme["chip-text"], theme[f"chip-{name}"]) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", MARKS)
def test_marks_can_be_seen(theme: dict[str, str], name: str) -> None:
    assert contrast(theme[name], theme["page"]) >= 3


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_shades_of_the_lanes_grow_away_from_the_page(theme: dict[str, str]) -> None:
    distances = [contrast(theme[f"h{number}"], theme["page"]) for number in range(5)]
    assert distances == sorted(distances)
    assert distances[-1] >= 4.5


def test_a_dark_screen_prints_in_light_colours() -> None:
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE
