"""The slow rank by traces, where there are no facts of many steps."""

import pytest

from diagnostics.analyses.trace_ranks import TraceRank, TraceRanks
from diagnostics.rules.catalogue import find_rule
from diagnostics.rules.measure_trace_ranks import measure_trace_ranks
from diagnostics.rules.measurements import Measurements


def rank(number, own_ms, data_wait_ms=1.0, slowest_share=0.0):
    return TraceRank(
        rank=number, step_ms=120.0, own_ms=own_ms, wait_ms=120.0 - own_ms,
        data_wait_ms=data_wait_ms, lateness_ms=0.0, slowest_share=slowest_share,
        clock_offset_ms=0.0,
    )  # fmt: skip


def traced(slow, num_steps=6, cost_ms=30.0):
    others = (rank(0, 80.0), rank(1, 82.0))
    return TraceRanks(
        why_not=None, ranks=(*others, slow), num_steps=num_steps, slowest_rank=2,
        cost_ms_per_step=cost_ms,
    )  # fmt: skip


def judged(found):
    return find_rule("CM001").check(Measurements(world_size=3, **measure_trace_ranks(found)))


@pytest.mark.parametrize(("wait_ms", "cause"), [(30.0, "input"), (2.0, "compute")])
def test_the_slow_rank_is_named_with_its_cause(wait_ms, cause):
    finding = judged(traced(rank(2, 112.0, wait_ms, 1.0)))
    assert finding.severity.label == "warn", "six steps carry no more"
    assert f"for rank 2: it is the slowest in 6 of 6 steps, by {cause}" in finding.summary
    assert finding.cost_ms_per_step == 30.0


def test_a_rank_that_is_not_steadily_the_slowest_is_no_finding():
    assert judged(traced(rank(2, 112.0, 2.0, 0.7))) is None


def test_a_steadily_slowest_rank_that_costs_little_is_no_finding():
    assert judged(traced(rank(2, 83.0, 2.0, 1.0), cost_ms=1.0)) is None


def test_a_few_steps_name_nobody():
    outcome = judged(traced(rank(2, 112.0, 2.0, 1.0), num_steps=4))
    assert "4 steps in common" in outcome.reason


def test_one_trace_compares_nothing():
    assert measure_trace_ranks(TraceRanks()) == {}
