"""Means of series whose neighbours are alike: intervals and tests keep their promise."""

import numpy as np
import pytest

from diagnostics.analyses.series_mean import (
    adjust_by_holm,
    autocorrelation_time,
    compare_means,
    estimate_mean,
    estimate_ratio,
)


def ar1(generator, num_series, length, phi):
    """Series of an autoregressive process of order 1 around 0, begun in its own distribution."""
    noise = generator.standard_normal((num_series, length))
    series = np.empty_like(noise)
    series[:, 0] = noise[:, 0] / np.sqrt(1 - phi * phi)
    for at in range(1, length):
        series[:, at] = phi * series[:, at - 1] + noise[:, at]
    return series


def covered(pairs, change=0.0):
    """Share of pairs whose interval holds the true change."""
    found = [compare_means(estimate_mean(a), estimate_mean(b + change)) for a, b in pairs]
    return np.mean([each.low <= change <= each.high for each in found])


@pytest.mark.parametrize("phi", [0.0, 0.3, 0.6])
@pytest.mark.parametrize(("before", "after"), [(60, 60), (200, 80)])
def test_intervals_hold_the_true_change(phi, before, after):
    generator = np.random.default_rng(1)
    pairs = zip(
        ar1(generator, 1000, before, phi) + 100,
        ar1(generator, 1000, after, phi) + 100,
        strict=True,
    )
    assert 0.93 <= covered(pairs, change=7.0) <= 0.97


def test_intervals_that_take_steps_as_independent_would_not_hold():
    """What the method is for: with phi 0.6 such intervals hold the truth in 7 of 10 cases."""
    generator = np.random.default_rng(2)
    series = ar1(generator, 500, 100, 0.6)
    naive = 1.96 * series.std(axis=1, ddof=1) / 10
    assert np.mean(np.abs(series.mean(axis=1)) <= naive) < 0.75


@pytest.mark.parametrize("length", [5, 6, 9, 12])
def test_short_series_err_on_the_careful_side(length):
    generator = np.random.default_rng(3)
    series = ar1(generator, 600, length, 0.5), ar1(generator, 600, length, 0.5)
    assert covered(zip(*series, strict=True)) >= 0.925


def test_the_smallest_change_that_could_be_shown_is_shown_in_four_of_five_cases():
    generator = np.random.default_rng(4)
    before, after = ar1(generator, 600, 100, 0.3), ar1(generator, 600, 100, 0.3)
    needed = [
        compare_means(estimate_mean(a), estimate_mean(b)).detectable
        for a, b in zip(before, after, strict=True)
    ]
    change = float(np.median(needed))
    found = [
        compare_means(estimate_mean(a), estimate_mean(b + change)).p_value < 0.05
        for a, b in zip(before, after, strict=True)
    ]
    assert 0.75 <= np.mean(found) <= 0.86


def test_more_tests_need_a_larger_change():
    generator = np.random.default_rng(5)
    one, other = (estimate_mean(each) for each in ar1(generator, 2, 50, 0.2))
    alone, among_many = compare_means(one, other), compare_means(one, other, num_tests=40)
    assert among_many.detectable > alone.detectable
    assert (among_many.low, among_many.high) == (alone.low, alone.high)


def test_effective_count_of_a_known_process():
    """An AR(1) process has (1 + phi) / (1 - phi) values to an independent one."""
    series = ar1(np.random.default_rng(6), 1, 20_000, 0.5)[0]
    assert autocorrelation_time(series) == pytest.approx(3.0, rel=0.1)


def test_opposed_neighbours_count_as_independent():
    series = ar1(np.random.default_rng(7), 1, 500, -0.7)[0]
    assert autocorrelation_time(series) == 1.0


def test_a_constant_series_is_known_exactly():
    found = compare_means(estimate_mean([3.0] * 20), estimate_mean([0.1 + 0.2] * 20))
    assert found.low == found.high == found.change == pytest.approx(-2.7)
    assert found.p_value == 0.0
    same = compare_means(estimate_mean([3.0] * 20), estimate_mean([3.0] * 20))
    assert (same.change, same.p_value, same.detectable) == (0.0, 1.0, 0.0)


def test_rows_count_by_their_weight():
    values, weights = [1.0, 2.0, 4.0] * 10, [1, 2, 5] * 10
    found = estimate_mean(values, weights)
    assert found.value == pytest.approx(np.average(values, weights=weights))


def test_a_ratio_is_of_the_sums():
    generator = np.random.default_rng(8)
    bottom = generator.uniform(1, 2, 4000)
    top = 3 * bottom + generator.normal(0, 0.5, 4000)
    found = estimate_ratio(top, bottom)
    assert found.value == pytest.approx(top.sum() / bottom.sum())
    # By the delta method: the spread of top - 3 x bottom over the mean of bottom.
    assert found.standard_error == pytest.approx(0.5 / 1.5 / np.sqrt(4000), rel=0.1)


def test_scale_and_sign_change_nothing_but_the_unit():
    series = ar1(np.random.default_rng(9), 1, 80, 0.4)[0] + 5
    plain, scaled = estimate_mean(series), estimate_mean(-1000 * series)
    assert scaled.effective_count == pytest.approx(plain.effective_count)
    assert scaled.standard_error == pytest.approx(1000 * plain.standard_error)


def test_holm_by_hand():
    assert adjust_by_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_by_holm([0.9, 0.8]) == [1.0, 1.0]
    assert adjust_by_holm([]) == []


def test_no_change_is_found_among_many_in_more_than_a_twentieth_of_the_cases():
    generator = np.random.default_rng(10)
    families = ar1(generator, 200 * 2 * 15, 30, 0.3).reshape(200, 15, 2, 30)
    wrong = 0
    for family in families:
        p_values = [compare_means(estimate_mean(a), estimate_mean(b)).p_value for a, b in family]
        wrong += min(adjust_by_holm(p_values)) < 0.05
    assert wrong / 200 <= 0.08
