"""Steady growth is found; what a healthy run does is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnostics.analyses.growth_trend import LEAST_POINTS, growth_trend

MB = 1e6
GB = 1e9


def noise(count, size, seed):
    return np.random.default_rng(seed).normal(scale=size, size=count)


def shapes(courses):
    return [growth_trend(times, values).shape for times, values in courses]


def leak(seed, steps=100, samples=50, size=MB, noisy=10 * MB):
    """Samples each 0.2 s of steps of 100 ms; the memory of a process that starts at 2 GB."""
    times = np.linspace(0, steps, samples)
    return times, 2 * GB + size * times + noise(samples, noisy, seed)


def test_a_line_has_its_slope_exactly():
    times = np.arange(50.0)
    trend = growth_trend(times, 3.0 * times)
    assert trend.grows
    assert trend.slope == pytest.approx(3.0)
    assert trend.low == pytest.approx(3.0)
    assert trend.first == 10.0
    assert trend.jumps == 0.0


@pytest.mark.parametrize(("noisy", "least"), [(2 * MB, 200), (5 * MB, 198), (10 * MB, 188)])
def test_a_leak_of_1_mb_a_step_is_found_within_100_steps(noisy, least):
    found = [growth_trend(*leak(seed, noisy=noisy)) for seed in range(200)]
    assert sum(trend.grows for trend in found) >= least
    assert np.median([trend.slope for trend in found]) == pytest.approx(MB, rel=0.1)
    assert sum(trend.low < MB for trend in found) >= 196


def test_a_leak_is_found_behind_steps_of_epochs_and_spikes():
    """Workers that start and end each 150 steps with 2 GB, and single peaks of 1 GB."""
    times, values = leak(0, samples=400, steps=800)
    values = values + 2 * GB * (times % 300 < 150)
    values[::17] += GB
    trend = growth_trend(times, values)
    assert trend.grows
    assert trend.slope == pytest.approx(MB, rel=0.2)


def test_a_leak_behind_a_start_that_takes_much_is_found():
    times, values = leak(1)
    assert growth_trend(times, values + 5 * GB * np.minimum(1, times / 15)).grows


@pytest.mark.parametrize("walk", [False, True])
def test_healthy_noise_seldom_grows(walk):
    """2,000 short steps, with noise of each sample, and as a walk that keeps every change.

    A walk is the worst there is: whatever is sure of its course would be sure of growth.
    """
    times = np.linspace(0, 2000, 200)
    noisy = [noise(200, 20 * MB, seed) for seed in range(400)]
    courses = [(times, np.cumsum(each) if walk else each) for each in noisy]
    assert shapes(courses).count("growing") <= (16 if walk else 2)


@pytest.mark.parametrize("time_constant", [30, 100, 200, 300])
def test_warm_up_that_ends_is_no_growth(time_constant):
    times = np.linspace(0, 2000, 200)
    warm = 2 * GB * (1 - np.exp(-times / time_constant))
    courses = [(times, warm + noise(200, 5 * MB, seed)) for seed in range(50)]
    assert "growing" not in shapes(courses)


def test_growth_that_slows_down_with_the_logarithm_is_none():
    times = np.linspace(1, 2000, 400)
    assert not growth_trend(times, GB * np.log(times)).grows


@pytest.mark.parametrize("epochs", [2, 3, 5])
def test_steps_at_epochs_are_none(epochs):
    """Each epoch takes more at once, such as larger crops do, and takes it for good."""
    times = np.linspace(0, 2000, 300)
    steps = GB * np.floor(times * epochs / 2001)
    courses = [(times, steps + noise(300, 5 * MB, seed)) for seed in range(50)]
    trends = [growth_trend(*course) for course in courses]
    assert not any(trend.grows for trend in trends)
    assert max(trend.jumps for trend in trends) >= GB / 2


@pytest.mark.parametrize("epochs", [1.7, 2, 2.5, 3, 4.3, 10, 40])
@pytest.mark.parametrize("seed", range(5))
def test_teeth_at_epochs_are_none(epochs, seed):
    """Memory that rises within an epoch and is free at its end."""
    times = np.linspace(0, 2000, 400)
    teeth = GB * ((times * epochs / 2000) % 1.0)
    assert not growth_trend(times, teeth + noise(400, 10 * MB, seed)).grows


@pytest.mark.parametrize("seed", range(10))
def test_loading_processes_that_start_and_end_with_epochs_are_none(seed):
    """Eight processes of 300 MB, up within 3 s, each epoch a little later than the last one."""
    generator = np.random.default_rng(seed)
    times = np.arange(0, 60, 0.2)
    values = 2 * GB + noise(len(times), 20 * MB, seed)
    begin = 0.0
    while begin < 60:
        end = begin + generator.uniform(5, 15)
        starts = begin + np.sort(generator.uniform(0, 3, size=8))
        for start in starts:
            values[(times >= start) & (times < end)] += 300 * MB
        begin = end + 1
    assert not growth_trend(times, values).grows


def test_a_process_that_starts_late_and_stays_is_a_jump():
    times = np.linspace(0, 100, 100)
    trend = growth_trend(times, np.where(times > 70, 3 * GB, 0) + noise(100, MB, 0))
    assert not trend.grows
    assert trend.jumps == pytest.approx(3 * GB, rel=0.05)


@pytest.mark.parametrize("begin", [280, 300, 320])
@pytest.mark.parametrize("noisy", [MB / 10, 5 * MB])
def test_rate_rise_and_beginning_are_those_of_one_stretch(begin, noisy):
    """Growth that begins within the window is not told as slower growth of all of it."""
    times = np.arange(1000.0)
    values = 2 * GB + MB * np.maximum(0, times - begin) + noise(1000, noisy, begin)
    trend = growth_trend(times, values)
    assert trend.grows
    assert trend.first == pytest.approx(begin, abs=25)
    assert trend.slope == pytest.approx(MB, rel=0.05)
    assert trend.rise == pytest.approx(trend.slope * (trend.last - trend.first))


def test_a_jump_beside_growth_is_not_its_beginning():
    times = np.arange(400.0)
    trend = growth_trend(times, MB * times + 2 * GB * (times > 250) + noise(400, MB, 0))
    assert trend.grows
    assert trend.first == 80
    assert trend.slope == pytest.approx(MB, rel=0.05)


def test_what_is_constant_is_level():
    assert growth_trend(np.arange(40.0), np.full(40, 5e9)).shape == "level"


def test_what_shrinks_is_level():
    assert growth_trend(np.arange(40.0), -MB * np.arange(40.0)).shape == "level"


def test_order_and_gaps_do_not_matter():
    times, values = leak(3)
    order = np.random.default_rng(0).permutation(len(times))
    with_gaps = np.concatenate([times[order], [np.nan, 50.0]])
    assert growth_trend(with_gaps, np.concatenate([values[order], [1.0, np.nan]])) == growth_trend(
        times, values
    )


@given(scale=st.floats(1e-3, 1e3), stretch=st.floats(1e-3, 1e3), seed=st.integers(0, 20))
def test_units_do_not_matter(scale, stretch, seed):
    times, values = leak(seed)
    one, other = growth_trend(times, values), growth_trend(times * stretch, values * scale)
    assert other.shape == one.shape
    assert other.slope == pytest.approx(one.slope * scale / stretch, rel=1e-6)
    assert other.rise == pytest.approx(one.rise * scale, rel=1e-6)


@pytest.mark.parametrize("count", [0, 1, LEAST_POINTS - 1])
def test_few_points_tell_nothing(count):
    assert growth_trend(np.arange(float(count)), np.arange(float(count))) is None


def test_points_of_one_time_tell_nothing():
    assert growth_trend(np.zeros(50), np.arange(50.0)) is None


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="times has 2"):
        growth_trend(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e150, 1e300, np.inf])
def test_values_of_any_size_are_borne(size):
    generator = np.random.default_rng(0)
    growth_trend(np.arange(100.0), size * generator.normal(size=100))
