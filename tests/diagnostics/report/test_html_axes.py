"""Axes: round values, inside the range, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnostics.report.html_axes import (
    Scale,
    duration,
    from_zero,
    step_ticks,
    time_ticks,
    value_label,
    value_ticks,
)


@given(st.floats(min_value=1e-3, max_value=1e14), st.sampled_from(["ms", "bytes", "percent", "W"]))
def test_value_ticks_begin_at_zero_and_stay_inside(high: float, unit: str) -> None:
    ticks = value_ticks(Scale(0.0, high), unit)
    places = [tick.place for tick in ticks]

    assert places[0] == 0
    assert 1 < len(ticks) <= 6 or high < 1
    assert places == sorted(set(places))
    assert all(0 <= place <= 1 for place in places)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_step_ticks_are_whole_steps_of_the_range(first: int, span: int) -> None:
    ticks = step_ticks(Scale(first, first + span))
    numbers = [int(tick.label.removeprefix("step ").replace(",", "")) for tick in ticks]

    assert 1 <= len(ticks) <= 11
    assert all(first <= number < first + span for number in numbers)
    assert len(set(numbers)) == len(numbers)


@given(st.floats(min_value=1e-3, max_value=1e7))
def test_time_ticks_are_few_and_in_order(span: float) -> None:
    ticks = time_ticks(Scale(0.0, span))
    places = [tick.place for tick in ticks]

    assert 1 <= len(ticks) <= 6
    assert places == sorted(set(places))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.25, "0.25 s"),
        (59, "59 s"),
        (60, "1 min"),
        (90, "1:30 min"),
        (7500, "2:05 h"),
        (7200, "2 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_labels_carry_their_unit() -> None:
    assert value_label(2**31, "bytes") == "2.00 GiB"
    assert value_label(50, "percent") == "50 %"
    assert value_label(2000, "ms") == "2,000 ms"
    assert value_label(0.5, "ms") == "0.50 ms"


def test_a_scale_without_values_divides_by_nothing() -> None:
    assert from_zero(0.0).place(0.0) == 0.0
    assert Scale(3.0, 3.0).place(3.0) == 0.0
