"""Steps are written together when they are short, and never later than a reader may expect."""

import pytest

from tests.vrtspike.profiling.test_recorder_laws import run_step
from vrtspike.profiling.own_cost import OwnCost
from vrtspike.profiling.pending import MOST_TOGETHER, WRITE_EVERY_NS

EVERY_MS = WRITE_EVERY_NS // 1_000_000


def test_steps_that_are_long_enough_are_written_at_their_end(new_recorder, clock, heard):
    with new_recorder() as recorder:
        for step in (1, 2, 3):
            run_step(recorder, clock, step, [("forward", EVERY_MS)])
            assert [each.step for each in heard.steps] == list(range(1, step + 1))


def test_short_steps_wait_for_each_other_until_the_time_is_over(new_recorder, clock, heard):
    with new_recorder() as recorder:
        run_step(recorder, clock, 1, [("forward", 1)])
        assert [each.step for each in heard.steps] == [1]
        run_step(recorder, clock, 2, [("forward", EVERY_MS - 2)])
        assert [each.step for each in heard.steps] == [1]
        run_step(recorder, clock, 3, [("forward", 2)])
        assert [each.step for each in heard.steps] == [1, 2, 3]


def test_no_more_than_the_limit_wait_however_short_they_are(new_recorder, clock, heard):
    with new_recorder() as recorder:
        for step in range(1, 1 + 3 * MOST_TOGETHER):
            run_step(recorder, clock, step, [])
            assert step - len(heard.steps) < MOST_TOGETHER


@pytest.mark.parametrize("way", ["span", "finish", "flush"])
def test_what_may_take_long_finds_every_step_written(new_recorder, clock, heard, way):
    with new_recorder() as recorder:
        for step in (1, 2, 3):
            run_step(recorder, clock, step, [("forward", 1)])
        assert len(heard.steps) == 1
        if way == "span":
            with recorder.span("validation"):
                assert len(heard.steps) == 3
        elif way == "finish":
            recorder.finish("interrupted")
        else:
            recorder.flush()
        assert [each.step for each in heard.steps] == [1, 2, 3]


def test_the_price_of_writing_together_is_shared_and_nothing_of_it_is_lost():
    cost = OwnCost(lambda: 0)
    cost.spread(10_000_000, 3)
    parts = [cost.take_ms() for _ in range(4)]
    assert sum(parts) == pytest.approx(10.0)
    assert parts[:3] == pytest.approx([10 / 3] * 3, rel=1e-5)
    assert parts[3] == 0.0


def test_a_price_that_is_still_owed_is_paid_with_the_next():
    cost = OwnCost(lambda: 0)
    cost.spread(6_000_000, 3)
    first = cost.take_ms()
    cost.spread(2_000_000, 2)
    assert first + sum(cost.take_ms() for _ in range(2)) == pytest.approx(8.0)
