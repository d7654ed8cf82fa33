"""Samples per second of all ranks."""

import pytest

from diagnostics.analyses.throughput import compute_throughput
from diagnostics.load import load_run
from tests.diagnostics.factories import (
    MadeRun,
    log_lines,
    make_run,
    make_step,
    run_of,
    write_facts,
    write_lines,
)


def test_samples_of_all_ranks_over_the_slowest_ranks_time(tmp_path):
    ranks = [[make_step(n) for n in range(1, 6)], [make_step(n, 2.0) for n in range(1, 6)]]
    found = compute_throughput(load_run([write_facts(tmp_path, MadeRun(ranks=ranks))]))
    assert found.samples_per_step == 4
    assert found.samples_per_s == pytest.approx(4 / 0.072)
    assert found.num_steps == 5


def test_wall_time_holds_the_tagged_steps_and_the_pauses(tmp_path):
    run = load_run([write_facts(tmp_path, make_run(20))])
    found = compute_throughput(run)
    steps = run.tables.steps
    assert found.wall_s == pytest.approx(
        steps["start_unix_s"].max()
        - steps["start_unix_s"].min()
        + run.tables.phases.query("name == 'step' and step == 20")["ms"].item() / 1000,
        rel=1e-4,
    )
    assert found.wall_samples_per_s == pytest.approx(40 / found.wall_s)
    assert found.wall_samples_per_s < found.samples_per_s


def test_log_and_facts_agree_within_rounding(tmp_path):
    made = make_run(40, num_ranks=2)
    made = MadeRun(ranks=[made.ranks[0], made.ranks[0]])
    facts = compute_throughput(load_run([write_facts(tmp_path / "facts", made)]))
    log = compute_throughput(load_run([write_lines(tmp_path / "a.log", log_lines(made, 5))]))
    assert log.samples_per_s == pytest.approx(facts.samples_per_s, abs=0.1)
    assert log.samples_per_step == pytest.approx(facts.samples_per_step, rel=0.01)
    assert "rounded there" in log.reasons[0]


def test_nothing_recorded_is_none_and_said():
    for run in (run_of(), run_of(evidence="text log only")):
        found = compute_throughput(run)
        assert found.samples_per_s is None
        assert found.wall_samples_per_s is None
        assert found.reasons
