"""The Theil-Sen slope against its definition."""

import numpy as np
import pytest

from diagnostics.analyses.robust_slope import MAX_POINTS, theil_sen


def test_a_line_has_its_slope_exactly():
    x = np.arange(10.0)
    slope = theil_sen(x, 3 * x + 5)
    assert (slope.value, slope.low, slope.high) == pytest.approx((3, 3, 3))


def test_a_quarter_of_outliers_does_not_move_it():
    x = np.arange(40.0)
    y = 2 * x
    y[::4] += 1000
    assert theil_sen(x, y).value == pytest.approx(2, abs=0.5)


def test_interval_covers_the_true_slope_in_most_cases():
    generator = np.random.default_rng(0)
    x = np.arange(50.0)
    found = [theil_sen(x, 0.1 * x + generator.normal(size=50)) for _ in range(200)]
    covered = sum(slope.low <= 0.1 <= slope.high for slope in found) / 200
    assert 0.9 <= covered <= 0.99


def test_order_does_not_matter_and_many_points_are_merged():
    generator = np.random.default_rng(1)
    x = generator.permutation(np.arange(10.0 * MAX_POINTS))
    y = 0.5 * x + generator.normal(size=len(x))
    slope = theil_sen(x, y)
    assert slope == theil_sen(x[::-1], y[::-1])
    assert slope.value == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("x", [[], [1.0], [1.0, 2.0], [1.0, 1.0, 2.0, 2.0]])
def test_too_few_points_have_none(x):
    assert theil_sen(np.array(x), np.array(x)) is None
