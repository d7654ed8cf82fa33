"""What part of making a batch is computed."""

import json

import pytest

from diagnostics.analyses.making_cpu import LEAST_SAMPLES, compute_making_cpu
from diagnostics.load import load_run
from tests.diagnostics.factories import (
    START_UNIX_S,
    MadeRun,
    make_step,
    step_lines,
    write_facts,
    write_lines,
)

STEP_S = 0.36
"""Steps of 360 ms, 10 ms of it the wait for data."""


def write_run(folder, percent_of, *, fetch=None, samples=20, steps=20):
    """`percent_of(second)` maps pid and role to the CPU use of each process."""
    run = MadeRun(ranks=[[make_step(step, 10.0) for step in range(1, steps + 1)]])
    write_facts(folder, run)
    if fetch is not None:
        lines = [json.loads(line) for line in step_lines(run, 0)]
        with_loader = [{**line, "loader": {"fetches": [fetch]}} for line in lines]
        write_lines(folder / "steps.rank0.jsonl", map(json.dumps, with_loader))
    at = [0.2 * place for place in range(samples)]
    write_lines(folder / "resources.box.jsonl", [_sample(each, percent_of(each)) for each in at])
    return compute_making_cpu(load_run([folder]))


def _sample(at_s, percent):
    body = {
        "schema": 1,
        "kind": "resources",
        "at_unix_s": START_UNIX_S + at_s,
        "host": {"ram_total_bytes": 10**11, "ram_available_bytes": 6 * 10**10, "ram_percent": 40.0},
        "processes": [
            {"pid": pid, "role": role, "name": "python", "rss_bytes": 1, "cpu_percent": used}
            for (pid, role), used in percent.items()
        ],
        "gpus": None,
    }
    return json.dumps(body)


def fetch(**fields):
    return {"wait_ms": 10.0, "ready": 0, "worker": 0, "samples": 2, "made_ms": 720.0, **fields}


def test_what_the_loaders_compute_of_what_a_batch_takes(tmp_path):
    """Two batches in the making at a time, a tenth of a core for each of two processes."""
    used = {(1, "main"): 100.0, (2, "worker"): 10.0, (3, "worker"): 10.0}
    found = write_run(tmp_path, lambda at: used, fetch=fetch())
    assert found.cores == pytest.approx(0.2)
    assert found.making == pytest.approx(2.0)
    assert found.core_share == pytest.approx(0.1)
    assert not found.is_bound


def test_without_times_of_batches_an_empty_queue_tells_that_loaders_never_rest(tmp_path):
    used = {(1, "main"): 100.0, (2, "worker"): 10.0, (3, "worker"): 10.0}
    untimed = {"wait_ms": 10.0, "ready": 0, "worker": 0}
    found = write_run(tmp_path, lambda at: used, fetch=untimed)
    assert found.making == 2.0


def test_a_full_queue_without_times_tells_nothing(tmp_path):
    used = {(1, "main"): 100.0, (2, "worker"): 10.0}
    untimed = {"wait_ms": 10.0, "ready": 3, "worker": 0}
    assert write_run(tmp_path, lambda at: used, fetch=untimed) is None


def test_only_samples_within_steps_count(tmp_path):
    """Loaders that start and end beside the steps compute there."""

    def used(at):
        return {(1, "main"): 50.0, (2, "worker"): 10.0 if at < 20 * STEP_S else 900.0}

    found = write_run(tmp_path, used, fetch=fetch(), samples=200)
    assert found.cores == pytest.approx(0.1)


def test_a_training_process_that_makes_its_batches_computes_at_most_what_it_used(tmp_path):
    """10 of 360 ms wait; 0.7 % of a core is a quarter of that at most."""
    made_here = fetch(worker=None, made_ms=10.0)
    found = write_run(tmp_path, lambda at: {(1, "main"): 0.7}, fetch=made_here)
    assert found.is_bound
    assert found.making == pytest.approx(10 / 360, rel=0.01)
    assert found.core_share == pytest.approx(0.25, rel=0.02)
    busy = write_run(tmp_path / "busy", lambda at: {(1, "main"): 90.0}, fetch=made_here)
    assert busy.core_share == 1.0


def test_few_samples_tell_nothing(tmp_path):
    used = {(1, "main"): 100.0, (2, "worker"): 10.0}
    assert write_run(tmp_path, lambda at: used, fetch=fetch(), samples=LEAST_SAMPLES - 1) is None


def test_a_machine_that_was_not_sampled_tells_nothing(tmp_path):
    run = MadeRun(ranks=[[make_step(step) for step in range(1, 20)]])
    assert compute_making_cpu(load_run([write_facts(tmp_path, run)])) is None
