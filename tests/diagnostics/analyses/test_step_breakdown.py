"""Laws of the breakdown: parts sum to the whole, tagged steps never enter, order is nothing."""

import random

import pytest

from diagnostics.analyses.ranking import compute_ranking
from diagnostics.analyses.step_breakdown import compute_step_breakdown
from diagnostics.analyses.throughput import compute_throughput
from diagnostics.load import load_run
from diagnostics.parsers.facts import parse_facts
from tests.diagnostics.factories import (
    MadeRun,
    log_lines,
    make_run,
    make_step,
    phase_rows,
    run_of,
    step_lines,
    write_facts,
    write_lines,
)


def from_facts(folder, made):
    return load_run([write_facts(folder / "facts", made)])


def from_log(folder, made, every=1):
    return load_run([write_lines(folder / "a.log", log_lines(made, every))])


def test_shares_sum_to_one(tmp_path):
    breakdown = compute_step_breakdown(from_facts(tmp_path, make_run(30, num_ranks=2)))
    assert sum(each.share_of_step for each in breakdown.phases) == pytest.approx(1)
    assert sum(each.share_of_forward for each in breakdown.stages) == pytest.approx(1)
    data = breakdown.data_against_compute
    shares = (data.data_wait_share, data.h2d_share, data.compute_share, data.other_share)
    assert sum(shares) == pytest.approx(1)
    assert [closure.holds for closure in breakdown.closures] == [True, True]
    assert [closure.name for closure in breakdown.closures] == [
        "phases of the step",
        "stages of the forward",
    ]


def test_tagged_steps_never_enter_and_are_counted(tmp_path):
    steps = [make_step(1, 50.0, ("first",)), *(make_step(n) for n in range(2, 10))]
    steps += [make_step(10, 9.0, ("validation", "checkpoint")), make_step(11, 5.0, ("gc",))]
    breakdown = compute_step_breakdown(from_facts(tmp_path, MadeRun(ranks=[steps])))
    assert breakdown.step.mean_ms == pytest.approx(36)
    assert breakdown.step.p95_ms == pytest.approx(36)
    assert (breakdown.count, breakdown.excluded) == (8, 3)
    assert breakdown.excluded_by_tag == {"first": 1, "validation": 1, "checkpoint": 1, "gc": 1}
    assert {each.count for each in (*breakdown.phases, *breakdown.stages)} == {8}
    assert breakdown.reasons == ()


def test_a_tag_of_one_rank_excludes_the_step_of_all(tmp_path):
    quick = [make_step(n) for n in range(1, 5)]
    validating = [make_step(1), make_step(2), make_step(3, 9.0, ("validation",)), make_step(4)]
    waiting = [*quick[:2], make_step(3, 9.0), quick[3]]
    made = MadeRun(ranks=[validating, waiting])
    breakdown = compute_step_breakdown(from_facts(tmp_path, made))
    assert breakdown.step.mean_ms == pytest.approx(36)
    assert (breakdown.count, breakdown.excluded) == (3, 1)


def test_all_steps_are_used_when_every_one_is_tagged(tmp_path):
    steps = [make_step(n, 2.0, ("profiled",)) for n in range(1, 4)]
    breakdown = compute_step_breakdown(from_facts(tmp_path, MadeRun(ranks=[steps])))
    assert breakdown.is_tagged_included
    assert breakdown.step.mean_ms == pytest.approx(72)
    assert (breakdown.count, breakdown.excluded) == (3, 0)
    assert "every step carries a tag" in breakdown.reasons[0]


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("clock", ["host", "device"])
def test_log_and_facts_agree_within_rounding(tmp_path, every, clock):
    made = make_run(40, clock=clock, validations=(20,))
    rows = [list(rank) for rank in made.ranks]
    rows[0][20] = make_step(21, 7.0, ("validation",))
    made = MadeRun(ranks=rows, clock=clock, validations=(20,))
    facts = compute_step_breakdown(from_facts(tmp_path, made))
    log = compute_step_breakdown(from_log(tmp_path, made, every))
    assert log.is_window_means
    assert not facts.is_window_means
    assert (log.clock, log.count, log.excluded) == (facts.clock, facts.count, facts.excluded)
    assert log.step.mean_ms == pytest.approx(facts.step.mean_ms, abs=0.05)
    # A log has the device's times, and of the host's only the wait for data and the step.
    for mine in log.phases:
        its = facts.phase(mine.name, mine.clock)
        assert mine.mean_ms == pytest.approx(its.mean_ms, abs=0.05)
        assert mine.share_of_step == pytest.approx(its.share_of_step, abs=0.02)
    for mine, its in zip(log.stages, facts.stages, strict=True):
        assert (mine.name, mine.clock) == (its.name, its.clock)
        assert mine.mean_ms == pytest.approx(its.mean_ms, abs=0.05)
        assert mine.share_of_forward == pytest.approx(its.share_of_forward, abs=0.01)
    if every == 1:
        assert log.step.p95_ms == pytest.approx(facts.step.p95_ms, abs=0.05)


def test_order_of_ranks_and_lines_does_not_matter(tmp_path):
    made = make_run(20, num_ranks=3)
    one = compute_step_breakdown(from_facts(tmp_path / "one", made))
    folder = write_facts(tmp_path / "two" / "facts", made)
    for rank, other in enumerate((2, 0, 1)):
        lines = step_lines(made, other)
        random.Random(rank).shuffle(lines)
        write_lines(folder / f"steps.rank{rank}.jsonl", lines)
    two = compute_step_breakdown(load_run([folder]))
    assert [each.mean_ms for each in two.phases] == pytest.approx(
        [each.mean_ms for each in one.phases]
    )
    assert [each.name for each in two.phases] == [each.name for each in one.phases]
    assert sorted(each.step_mean_ms for each in two.ranks) == pytest.approx(
        sorted(each.step_mean_ms for each in one.ranks)
    )


def test_mean_over_ranks_is_the_mean_of_the_ranks(tmp_path):
    breakdown = compute_step_breakdown(from_facts(tmp_path, make_run(20, num_ranks=3)))
    ranks = breakdown.ranks
    assert [each.rank for each in ranks] == [0, 1, 2]
    assert breakdown.step.mean_ms == pytest.approx(sum(r.step_mean_ms for r in ranks) / 3)


def test_phases_that_miss_their_step_are_said_not_to_close():
    rows = [(0, n, name, ms) for n in (1, 2) for name, ms in (("forward", 6.0), ("other", 1.0))]
    rows += [(0, n, "step", 10.0) for n in (1, 2)]
    (closure,) = compute_step_breakdown(run_of(phases=phase_rows(rows))).closures
    assert not closure.holds
    assert closure.difference_share == pytest.approx(0.3)
    assert closure.other_share == pytest.approx(0.1)


def test_a_phase_that_only_some_steps_have_weighs_less():
    rows = [(0, n, "forward", 5.0) for n in (1, 2, 3, 4)] + [(0, 1, "loss", 20.0)]
    rows += [(0, 1, "step", 25.0), *((0, n, "step", 5.0) for n in (2, 3, 4))]
    breakdown = compute_step_breakdown(run_of(phases=phase_rows(rows)))
    shares = {each.name: each.share_of_step for each in breakdown.phases}
    assert shares == pytest.approx({"forward": 0.5, "loss": 0.5})
    assert breakdown.closures[0].holds


def test_the_device_clock_is_judged_by_and_never_added(tmp_path):
    breakdown = compute_step_breakdown(from_facts(tmp_path, make_run(20, clock="device")))
    assert breakdown.clock == "device"
    assert [each.clock for each in breakdown.phases] == ["device"] * 7 + ["host"] * 7
    for clock in ("device", "host"):
        parts = [each for each in breakdown.phases if each.clock == clock]
        assert sum(each.share_of_step for each in parts) == pytest.approx(1)
    clocks = [each.clock for each in breakdown.stages]
    assert clocks[0] == "device"
    assert clocks == sorted(clocks)
    data = breakdown.data_against_compute
    assert data.data_wait_ms > data.data_wait_exposed_ms
    assert data.step_ms < breakdown.step.mean_ms


def test_nothing_recorded_is_said():
    breakdown = compute_step_breakdown(run_of())
    assert (breakdown.count, breakdown.step, breakdown.phases) == (0, None, ())
    assert breakdown.data_against_compute is None
    assert breakdown.reasons == ("no step was recorded",)
    ranking = compute_ranking(breakdown)
    assert (ranking.stages, ranking.phases) == ((), ())


def test_zero_times_divide_nothing():
    rows = [(0, 1, name, 0.0) for name in ("forward", "other", "step")]
    breakdown = compute_step_breakdown(run_of(phases=phase_rows(rows)))
    assert [each.share_of_step for each in breakdown.phases] == [None, None]
    assert breakdown.closures == ()


def test_an_original_trainers_log_has_no_phases(tmp_path):
    lines = [f"step {n}/99 | loss=0.1 | 0.5 samples/s | data_time=0.1ms" for n in (50, 100)]
    run = load_run([write_lines(tmp_path / "a.log", lines)])
    breakdown = compute_step_breakdown(run)
    assert breakdown.step is None
    assert breakdown.count == 99
    assert "no stage line was written" in breakdown.reasons[0]
    assert compute_throughput(run).samples_per_s == 0.5


def test_ranking_follows_the_documented_limits(tmp_path):
    stages = {"a": 30.2, "b": 15.0, "c": 15.1, "d": 8.0, "e": 8.1, "f": 5.0, "g": 5.1}
    stages["forward.other"] = 100 - sum(stages.values())
    phases = {**make_step(1).phases, "forward": 100.0}
    steps = [type(make_step(1))(step=n, phases=phases, stages=stages) for n in range(1, 4)]
    made = MadeRun(ranks=[steps])
    ranking = compute_ranking(compute_step_breakdown(from_facts(tmp_path, made)))
    priorities = {each.name: each.priority for each in ranking.stages}
    assert priorities["a"] == priorities["c"] == "very high"
    assert priorities["b"] == priorities["e"] == "high"
    assert priorities["d"] == priorities["g"] == "medium"
    assert priorities["f"] == "low"
    assert [each.place for each in ranking.stages] == list(range(1, 9))
    assert ranking.stages[0].name == "a"
    assert ranking.phases[0].name == "forward"


def test_parsed_facts_order_stages_as_meta_tells(tmp_path):
    made = make_run(5, meta={"stages": ["vrt.stage1", "flow"]})
    folder = write_facts(tmp_path, made)
    assert parse_facts(folder).meta.stages == ("vrt.stage1", "flow")
    names = [each.name for each in compute_step_breakdown(load_run([folder])).stages]
    assert names == ["vrt.stage1", "flow", "forward.other"]
