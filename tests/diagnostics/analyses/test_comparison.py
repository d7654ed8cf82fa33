"""Two runs compared: parts sum to the whole, a change is found where it is and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from diagnostics.analyses.comparison import CPU_USE, HOST_MEMORY, HOST_WAIT, compare_runs
from diagnostics.load import load_run
from tests.diagnostics.factories import (
    START_UNIX_S,
    MadeRun,
    log_lines,
    make_step,
    resource_line,
    write_facts,
    write_lines,
)

SLOWER_STAGE = 3.0


def noisy_run(seed, num_steps=60, grown_ms=0.0, num_ranks=1, **changes):
    """Steps of 36 ms that scatter by 2 %; the backward and one stage may take longer."""
    generator = np.random.default_rng(seed)
    ranks = []
    for _ in range(num_ranks):
        steps = [make_step(1, 20.0, ("first",))]
        for number in range(2, num_steps + 1):
            step = make_step(number, generator.normal(1.0, 0.02))
            phases = dict(step.phases, backward=step.phases["backward"] + grown_ms)
            stages = dict(step.stages)
            if grown_ms:
                stages["vrt.stage1"] += SLOWER_STAGE
                phases["forward"] += SLOWER_STAGE
            steps.append(replace(step, phases=phases, stages=stages))
        ranks.append(steps)
    return MadeRun(ranks=ranks, run_id=f"train_20260102_0304{seed:02d}_aaaa", **changes)


def facts(tmp_path, seed, **changes):
    return load_run([write_facts(tmp_path / f"run{seed}", noisy_run(seed, **changes))])


def changes_of(comparison, kind):
    return {each.name: each for each in comparison.changes if each.kind == kind}


@pytest.mark.parametrize("clock", ["host", "device"])
@pytest.mark.parametrize("num_ranks", [1, 2])
def test_changes_of_the_phases_sum_to_that_of_the_step(tmp_path, clock, num_ranks):
    before = facts(tmp_path, 1, clock=clock, num_ranks=num_ranks)
    after = facts(tmp_path, 2, clock=clock, num_ranks=num_ranks, grown_ms=5.0)
    found = compare_runs(before, after)
    assert found.clock == clock
    phases = changes_of(found, "phase")
    assert sum(each.change for each in phases.values()) == pytest.approx(found.step.change)
    assert found.unexplained_ms == pytest.approx(0.0, abs=1e-9)
    assert found.step.before == pytest.approx(36.0 - (clock == "device"), rel=0.02)
    stages = changes_of(found, "stage")
    assert sum(each.change for each in stages.values()) == pytest.approx(phases["forward"].change)


def test_what_became_slower_is_named_and_nothing_else(tmp_path):
    found = compare_runs(facts(tmp_path, 1), facts(tmp_path, 2, grown_ms=5.0))
    assert found.step.outcome == "higher"
    assert found.step.low <= 5.0 + SLOWER_STAGE <= found.step.high
    shown = {each.name for each in found.changes if each.is_shown}
    assert {"backward", "forward", "vrt.stage1", "samples/s"} == shown
    assert changes_of(found, "resource")["samples/s"].outcome == "lower"


def test_equal_runs_show_no_change(tmp_path):
    found = compare_runs(facts(tmp_path, 3), facts(tmp_path, 4))
    assert found.step.outcome == "not shown"
    assert not any(each.is_shown for each in found.changes)
    assert 0 < found.step.detectable < 1.0
    assert found.is_like_with_like


def test_before_and_after_mirror_each_other(tmp_path):
    one, other = facts(tmp_path, 5), facts(tmp_path, 6, grown_ms=2.0)
    there, back = compare_runs(one, other), compare_runs(other, one)
    assert back.step.change == pytest.approx(-there.step.change)
    assert back.step.low == pytest.approx(-there.step.high)
    assert back.step.detectable == pytest.approx(there.step.detectable)


def test_tagged_steps_are_left_out_on_both_sides(tmp_path):
    """The first step takes 20 times as long as the others."""
    found = compare_runs(facts(tmp_path, 1), facts(tmp_path, 2))
    assert (found.before.excluded, found.after.excluded) == (1, 1)
    assert found.step.before == pytest.approx(36.0, rel=0.02)
    assert found.step.after == pytest.approx(36.0, rel=0.02)


def test_too_short_a_run_is_not_judged(tmp_path):
    found = compare_runs(facts(tmp_path, 1), facts(tmp_path, 2, num_steps=5, grown_ms=50.0))
    assert not found.is_judged
    assert found.step.outcome == "cannot judge"
    assert found.reasons == ("4 rows in the run; at least 5 are needed",)
    assert found.step.change > 40
    assert found.step.low is None


def test_a_run_of_tagged_steps_alone_is_not_judged(tmp_path):
    tagged = MadeRun(ranks=[[make_step(step, tags=("profiled",)) for step in range(1, 30)]])
    found = compare_runs(load_run([write_facts(tmp_path / "tagged", tagged)]), facts(tmp_path, 1))
    assert not found.is_judged
    assert "every step of the baseline carries a tag" in found.reasons[0]


def test_a_log_against_facts(tmp_path):
    made = noisy_run(1, num_steps=80)
    log = write_lines(tmp_path / "train.log", log_lines(made))
    found = compare_runs(load_run([log]), facts(tmp_path, 2, num_steps=80))
    assert found.is_judged
    assert abs(found.step.change) < 0.5
    assert ("measurement", "evidence") in {(each.kind, each.name) for each in found.differences}
    assert not found.is_like_with_like


def test_windows_of_a_log_count_by_their_steps(tmp_path):
    made = noisy_run(1, num_steps=203)
    log = write_lines(tmp_path / "train.log", log_lines(made, every=10))
    run = load_run([log])
    found = compare_runs(run, run)
    ms = [step.ms for step in made.ranks[0] if not step.tags]
    assert found.step.before == pytest.approx(np.mean(ms), rel=2e-3)


def test_runs_timed_by_different_clocks(tmp_path):
    before = facts(tmp_path, 1)
    after = facts(tmp_path, 2, clock="device")
    device_only = after.tables.phases[after.tables.phases["clock"] == "device"]
    after = replace(after, tables=replace(after.tables, phases=device_only))
    found = compare_runs(before, after)
    assert not found.is_judged
    assert found.reasons == ("the two runs have no clock in common: host and device",)


def test_what_makes_two_runs_unlike_is_listed(tmp_path):
    meta = {"device": {"type": "cpu", "name": "A"}, "versions": {"torch": "2.12"}}
    before = facts(tmp_path, 1, meta=meta)
    other = {
        "device": {"type": "cpu", "name": "B"},
        "versions": {"torch": "2.13", "numpy": "2.0"},
        "config": {"TRAIN": {"BATCH_SIZE": 2, "AMP_ENABLED": True}, "SEED": 5},
    }
    found = compare_runs(before, facts(tmp_path, 2, meta=other))
    listed = {(each.kind, each.name, each.before, each.after) for each in found.differences}
    assert listed == {
        ("hardware", "device", "A", "B"),
        ("software", "torch", "2.12", "2.13"),
        ("configuration", "TRAIN.AMP_ENABLED", None, "true"),
    }
    assert not found.is_like_with_like


def test_a_changed_setting_alone_is_like_with_like(tmp_path):
    found = compare_runs(
        facts(tmp_path, 1), facts(tmp_path, 2, meta={"config": {"TRAIN": {"BATCH_SIZE": 4}}})
    )
    assert [each.kind for each in found.differences] == ["configuration"]
    assert found.is_like_with_like


def test_with_other_work_the_time_for_a_sample_decides(tmp_path):
    """Steps of twice the samples in 1.25 times the time: the step is slower, the run faster."""
    before = facts(tmp_path, 1)
    steps = [replace(make_step(n, 1.25 + 0.01 * (n % 3)), samples=4) for n in range(1, 50)]
    after = load_run([write_facts(tmp_path / "more", MadeRun(ranks=[steps]))])
    found = compare_runs(before, after)
    assert found.step.outcome == "higher"
    assert found.headline is found.per_sample
    assert found.per_sample.outcome == "lower"
    assert found.per_sample.before == pytest.approx(18.0, rel=0.02)


def with_load(tmp_path, seed, cpu_percent, rss):
    """Sampled over 2 s of the 2.9 s that the run takes."""
    folder = write_facts(tmp_path / f"run{seed}", noisy_run(seed, num_steps=60))
    lines = [
        resource_line(START_UNIX_S + 0.8 + at / 20, [rss], cpu_percent=cpu_percent + at % 2)
        for at in range(40)
    ]
    write_lines(folder / "resources.box.jsonl", lines)
    return load_run([folder])


def test_load_is_compared_over_time_and_peaks_without_an_interval(tmp_path):
    found = compare_runs(
        with_load(tmp_path, 1, 30.0, 10**9), with_load(tmp_path, 2, 60.0, 2 * 10**9)
    )
    resources = changes_of(found, "resource")
    assert resources[CPU_USE].change == pytest.approx(30.0)
    assert resources[CPU_USE].outcome == "higher"
    peak = resources[HOST_MEMORY]
    assert (peak.before, peak.after, peak.share) == (10**9, 2 * 10**9, 1.0)
    assert peak.outcome == "no interval"
    assert peak.low is None


def test_the_hosts_wait_stands_beside_what_a_gpu_hides(tmp_path):
    found = compare_runs(facts(tmp_path, 1, clock="device"), facts(tmp_path, 2, clock="device"))
    wait = changes_of(found, "resource")[HOST_WAIT]
    assert wait.clock == "host"
    assert wait.before == pytest.approx(1.0, rel=0.05)
    assert changes_of(found, "phase")["data_wait"].before < 0.2


def test_stages_of_a_direction_that_one_run_did_not_time_are_left_out(tmp_path):
    before, after = facts(tmp_path, 1), facts(tmp_path, 2)
    stages = after.tables.stages
    without = replace(after, tables=replace(after.tables, stages=stages.iloc[:0]))
    assert not changes_of(compare_runs(before, without), "stage")
    one_less = stages[stages["name"] != "flow"]
    thinned = replace(after, tables=replace(after.tables, stages=one_less))
    flow = changes_of(compare_runs(before, thinned), "stage")["flow"]
    assert (flow.outcome, flow.reason) == ("cannot judge", "not recorded in the run")


def test_a_log_that_states_samples_alone_is_compared_by_them(tmp_path):
    """Its lines tell no step time and no phases."""

    def log(name, rate):
        lines = [
            f"step {n}/60 | loss=0.1000 charb=0.0100 lr=1.00e-04 | "
            f"{rate + 0.01 * (n % 3):.2f} samples/s | data_time=1.0ms"
            for n in range(1, 61)
        ]
        return load_run([write_lines(tmp_path / name, lines)])

    found = compare_runs(log("a.log", 2.0), log("b.log", 1.6))
    assert found.is_judged
    assert found.headline is found.per_sample
    assert found.headline.outcome == "higher"
    assert found.headline.before == pytest.approx(1000 / 2.01, rel=0.01)


def test_settings_of_any_depth_are_compared(tmp_path):
    deep = {"A": 1}
    for _ in range(300):
        deep = {"B": deep}
    config = {"TRAIN": {"BATCH_SIZE": 2}, "DEEP": deep}
    found = compare_runs(facts(tmp_path, 1), facts(tmp_path, 2, meta={"config": config}))
    assert found.is_like_with_like
