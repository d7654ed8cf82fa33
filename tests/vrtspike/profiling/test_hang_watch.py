"""When a run counts as standing still, and when a step counts as slow."""

import random

import pytest

from vrtspike.profiling.hang_watch import MIN_STEPS, QUIET_LIMIT_S, HangWatch
from vrtspike.profiling.slow_steps import MIN_STEPS as ENOUGH
from vrtspike.profiling.slow_steps import WINDOW_STEPS, StepTimes

LEAST_S = 30.0


def take_steps(watch, clock, count, ms=500.0):
    for step in range(1, count + 1):
        watch.step_begins(step)
        clock.pass_ms(ms)
        assert watch.step_ends() is None


@pytest.fixture
def watch(clock):
    return HangWatch(clock.perf_ns, LEAST_S)


def test_a_hang_is_told_once_and_its_end_with_its_length(watch, clock):
    take_steps(watch, clock, MIN_STEPS)
    watch.step_begins(6)
    clock.pass_ms(LEAST_S * 1e3)
    assert watch.check(500.0) is None
    clock.pass_ms(1)
    hang = watch.check(500.0)
    assert (hang.step, hang.limit_s, hang.span) == (6, LEAST_S, None)
    clock.pass_ms(9_999)
    assert watch.check(500.0) is None
    assert watch.step_ends() == pytest.approx(LEAST_S + 10)
    take_steps(watch, clock, 1)


def test_ten_medians_are_the_limit_where_steps_are_long(watch, clock):
    take_steps(watch, clock, MIN_STEPS, ms=8_000)
    watch.step_begins(6)
    clock.pass_ms(80_000)
    assert watch.check(8_000.0) is None
    clock.pass_ms(1)
    assert watch.check(8_000.0).limit_s == 80.0


@pytest.mark.parametrize("case", ["first steps", "span", "between steps", "compiling"])
def test_where_pauses_are_long_the_limit_is_too(watch, clock, case):
    take_steps(watch, clock, MIN_STEPS - 1 if case == "first steps" else MIN_STEPS)
    if case == "span":
        watch.span_begins("validation")
    elif case != "between steps":
        watch.step_begins(7)
    clock.pass_ms(QUIET_LIMIT_S * 1e3)
    assert watch.check(500.0, lambda: case == "compiling") is None
    clock.pass_ms(1)
    hang = watch.check(500.0, lambda: case == "compiling")
    assert hang.span == ("validation" if case == "span" else None)


def test_a_span_that_ends_begins_a_new_wait(watch, clock):
    take_steps(watch, clock, MIN_STEPS)
    watch.span_begins("checkpoint")
    clock.pass_ms(QUIET_LIMIT_S * 1e3 + 1)
    assert watch.check(500.0) is not None
    assert watch.span_ends() == pytest.approx(QUIET_LIMIT_S, abs=0.01)
    watch.step_begins(6)
    clock.pass_ms(LEAST_S * 1e3)
    assert watch.check(500.0) is None
    assert watch.elapsed_s() == LEAST_S


def judged(values):
    times = StepTimes()
    return [times.judge(value) for value in values]


def test_a_slow_step_needs_both_the_ratio_and_the_distance():
    even = [100.0] * ENOUGH
    assert judged([*even, 199.0])[-1] is None
    assert judged([*even, 201.0])[-1].ratio == 2.01
    uneven = [50.0, 150.0] * ENOUGH
    assert judged([*uneven, 400.0])[-1] is None  # the MAD is 100: jitter of this run


def test_too_few_steps_say_nothing():
    assert judged([*[100.0] * (ENOUGH - 1), 1e6])[-1] is None


def test_ordinary_jitter_triggers_nothing_and_the_window_forgets():
    chance = random.Random(0)
    values = [chance.lognormvariate(4, 0.2) for _ in range(5000)]
    assert not any(judged(values))
    shifted = [*[100.0] * WINDOW_STEPS, *[300.0] * WINDOW_STEPS]
    slow = [each is not None for each in judged(shifted)]
    assert any(slow)
    assert not any(slow[-(WINDOW_STEPS // 2) :]), "the new pace is the usual one by now"


def test_the_median_is_that_of_the_last_window():
    chance = random.Random(1)
    values = [chance.random() for _ in range(3 * WINDOW_STEPS)]
    times = StepTimes()
    for value in values:
        times.judge(value)
    assert times.median_ms == sorted(values[-WINDOW_STEPS:])[WINDOW_STEPS // 2]
