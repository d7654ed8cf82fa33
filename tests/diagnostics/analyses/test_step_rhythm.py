"""Drift, slow steps and tags of a run, from steps whose times are known."""

import pytest

from diagnostics import tables as declared
from diagnostics.analyses.step_rhythm import compute_step_rhythm
from diagnostics.run import TEXT_LOG_ONLY, TRACE_ONLY
from tests.diagnostics.factories import phase_rows, run_of


def step_rows(tags):
    """The table `steps` of rank 0: tags by step."""
    return declared.STEPS.from_records(
        [
            {
                "rank": 0, "step": step, "num_steps": 1, "is_tagged": bool(each), "tags": each,
                "num_tagged": int(bool(each)), "clock": "host",
            }
            for step, each in tags.items()
        ]
    )  # fmt: skip


def rhythm_of(ms, other=None, tags=None, evidence="facts"):
    rows = []
    for step, total in ms.items():
        rest = (other or {}).get(step, 1.0)
        rows += [(0, step, "forward", total - rest), (0, step, "other", rest)]
        rows += [(0, step, "step", total)]
    named = {step: (tags or {}).get(step, "") for step in ms}
    tagged = [step for step, tag in named.items() if tag]
    return compute_step_rhythm(
        run_of(evidence, phases=phase_rows(rows, tagged=tagged), steps=step_rows(named))
    )


def test_even_steps_drift_nowhere_and_none_is_slow():
    found = rhythm_of(dict.fromkeys(range(1, 41), 50.0))
    assert found.num_steps == 40
    assert found.drift.share == 0.0
    assert (found.slow.count, found.slow.cost_ms_per_step) == (0, 0.0)


def test_drift_is_the_growth_from_the_first_step_to_the_last():
    found = rhythm_of({step: 100.0 + step for step in range(101)})
    assert found.drift.share == pytest.approx(1.0)
    assert found.drift.low_share == pytest.approx(1.0)


def test_every_tenth_step_is_slow_in_one_phase():
    slow = {step: 300.0 if step % 10 == 0 else 100.0 for step in range(1, 61)}
    found = rhythm_of(slow, other=dict.fromkeys(range(10, 61, 10), 201.0)).slow
    assert (found.count, found.every_steps, found.phase) == (6, 10, "other")
    assert found.cost_ms_per_step == pytest.approx(6 * 200 / 60)
    assert found.phase_share == pytest.approx(1.0)


def test_a_slow_step_that_is_missed_keeps_the_period():
    slow = {step: 300.0 if step in (10, 20, 30, 50, 60) else 100.0 for step in range(1, 61)}
    assert rhythm_of(slow).slow.every_steps == 10


def test_slow_steps_at_odd_distances_have_no_period():
    slow = {step: 300.0 if step in (3, 10, 14, 31, 52) else 100.0 for step in range(1, 61)}
    assert rhythm_of(slow).slow.every_steps is None


def test_tags_cost_what_their_steps_take_beyond_the_median():
    times = dict.fromkeys(range(1, 41), 100.0) | {7: 500.0, 20: 300.0}
    found = rhythm_of(times, tags={7: "gc", 20: "gc,checkpoint"})
    assert found.tags["gc"].count == 2
    assert found.tags["gc"].cost_ms_per_step == pytest.approx(600 / 40)
    assert found.tags["checkpoint"].last_step == 20
    assert found.median_ms == 100.0


def test_few_steps_have_no_rhythm_a_log_none_at_all_and_a_trace_no_tags():
    few = rhythm_of(dict.fromkeys(range(1, 10), 50.0))
    assert (few.num_steps, few.drift, few.slow) == (9, None, None)
    assert rhythm_of({1: 50.0}, evidence=TEXT_LOG_ONLY).num_steps == 0
    assert not rhythm_of({1: 50.0}, evidence=TRACE_ONLY).has_tags


def test_the_slowest_rank_of_a_step_counts():
    rows = [(rank, step, "step", 100.0 + 50 * rank) for rank in (0, 1) for step in range(1, 31)]
    steps = step_rows(dict.fromkeys(range(1, 31), ""))
    assert compute_step_rhythm(run_of(phases=phase_rows(rows), steps=steps)).median_ms == 150.0
