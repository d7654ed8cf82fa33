"""Growth that begins late is found with its beginning; what only ends high is none."""

import numpy as np
import pytest

from diagnostics.analyses.growth_trend import growth_trend
from diagnostics.analyses.late_growth import LEAST_POINTS, growth_at_last

MB, GB = 1e6, 1e9
TIMES = np.linspace(0, 2000, 400)


def noise(size, seed, count=400):
    return np.random.default_rng(seed).normal(scale=size, size=count)


def late_leak(begin, noisy=3 * MB, seed=0):
    return 2 * GB + MB * np.maximum(0, TIMES - begin) + noise(noisy, seed)


@pytest.mark.parametrize("begin", [800, 1000, 1200, 1500, 1700])
@pytest.mark.parametrize("seed", range(3))
def test_a_leak_that_begins_late_is_found_with_its_beginning(begin, seed):
    values = late_leak(begin, seed=seed)
    trend = growth_at_last(TIMES, values)
    assert trend.grows
    assert trend.first == pytest.approx(begin, abs=150)
    assert trend.slope == pytest.approx(MB, rel=0.12)


def test_a_line_through_the_whole_would_not_find_them():
    assert not growth_trend(TIMES, late_leak(1200)).grows


def test_a_leak_from_the_start_on_is_told_as_before():
    values = late_leak(0)
    assert growth_at_last(TIMES, values) == growth_trend(TIMES, values)


def test_it_is_found_behind_the_peaks_of_checkpoints():
    values = late_leak(1200)
    values[::40] += GB
    assert growth_at_last(TIMES, values).grows


def sound():
    """Name and course of what healthy runs do."""
    for tau in (30, 100, 200, 300):
        yield f"warm-up {tau}", 2 * GB * (1 - np.exp(-TIMES / tau))
    for begin in (600, 1000, 1400, 1800):
        late = GB * (1 - np.exp(-np.maximum(0, TIMES - begin) / 60))
        yield f"a warm-up at {begin}", late
    for epochs in (1.2, 1.5, 2, 2.5, 3, 4.3, 10):
        yield f"{epochs} teeth", GB * ((TIMES * epochs / 2000) % 1.0)
        yield f"{epochs} steps", GB * np.floor(TIMES * epochs / 2001)
    yield "a logarithm", GB * np.log(TIMES + 1)
    yield "level", np.zeros(400)


@pytest.mark.parametrize(("name", "course"), list(sound()), ids=[name for name, _ in sound()])
def test_what_healthy_runs_do_is_none(name, course):
    found = [growth_at_last(TIMES, course + noise(5 * MB, seed)) for seed in range(8)]
    assert not any(trend.grows for trend in found), name


def test_a_walk_without_aim_seldom_looks_so():
    found = [growth_at_last(TIMES, np.cumsum(noise(20 * MB, seed))) for seed in range(100)]
    assert sum(trend.grows for trend in found) <= 5


def test_order_and_gaps_do_not_matter():
    values = late_leak(1200)
    order = np.random.default_rng(0).permutation(len(TIMES))
    times, sizes = np.append(TIMES[order], np.nan), np.append(values[order], 1.0)
    assert growth_at_last(times, sizes) == growth_at_last(TIMES, values)


@pytest.mark.parametrize("count", [0, 1, 7, LEAST_POINTS - 1])
def test_few_points_are_judged_as_a_whole_or_not_at_all(count):
    times, values = np.arange(float(count)), np.zeros(count)
    assert growth_at_last(times, values) == growth_trend(times, values)
