"""Growth of the host's memory, by who holds it."""

import json

import numpy as np
import pytest

from diagnostics.analyses.host_growth import HostGrowth, compute_host_growth
from diagnostics.analyses.memory_course import compute_memory_courses
from diagnostics.load import load_run
from diagnostics.rules.measure_growth import holder_name
from tests.diagnostics.factories import (
    START_UNIX_S,
    MadeRun,
    log_lines,
    make_run,
    make_step,
    write_facts,
    write_lines,
)

MB = 10**6
STEPS = 100
STEP_S = 0.108
SAMPLES = 54
"""A run of 100 steps of 108 ms, sampled each 0.2 s."""


def noisy(size, seed):
    return size + np.random.default_rng(seed).normal(scale=5 * MB, size=SAMPLES)


def at_step():
    return np.arange(SAMPLES) * 0.2 / STEP_S


def write_run(folder, processes, shm=None, figures=None):
    """`processes` maps pid and role to sizes, NaN where it does not live."""
    steps = [make_step(step, 3.0) for step in range(1, STEPS + 1)]
    write_facts(folder, MadeRun(ranks=[steps]))
    lines = []
    for place in range(SAMPLES):
        alive = [
            {
                "pid": pid,
                "role": role,
                "name": "python",
                "rss_bytes": int(sizes[place]) + 100 * MB,
                "shared_bytes": 100 * MB,
                **{n: int(each[place]) for n, each in (figures or {}).get(pid, {}).items()},
            }
            for (pid, role), sizes in processes.items()
            if not np.isnan(sizes[place])
        ]
        host = {} if shm is None else {"shm_used_bytes": int(shm[place])}
        body = {
            "schema": 1,
            "kind": "resources",
            "at_unix_s": START_UNIX_S + 0.2 * place,
            "host": {
                "ram_total_bytes": 10**11,
                "ram_available_bytes": 6 * 10**10,
                "ram_percent": 40.0,
                **host,
            },
            "processes": alive,
            "gpus": None,
        }
        lines.append(json.dumps(body))
    write_lines(folder / "resources.box.jsonl", lines)
    # The rank's own memory, of the steps, grows in the factory by 1 MB a step: not looked at.
    run = load_run([folder])
    return compute_host_growth(run, compute_memory_courses(run))


MAIN, WORKER = (1, "main"), (2, "worker")


def test_a_worker_that_loses_1_mb_a_step_is_named(tmp_path):
    sizes = {
        MAIN: noisy(2e9, 0),
        WORKER: noisy(3e8, 1) + MB * at_step(),
        (3, "worker"): noisy(3e8, 2),
    }
    found = write_run(tmp_path, sizes)
    assert [(each.holder, each.pid) for each in found.growing] == [("loader_process", 2)]
    assert found.bytes_per_step == pytest.approx(MB, rel=0.15)
    assert found.num_steps == pytest.approx(STEPS, abs=3)


def test_workers_that_lose_little_each_are_seen_together(tmp_path):
    sizes = {
        (pid, "worker"): noisy(3e8, pid) + (MB / 2 if pid == 7 else MB / 4) * at_step()
        for pid in range(2, 10)
    }
    found = write_run(tmp_path, {MAIN: noisy(2e9, 0), **sizes})
    assert [(each.holder, each.num_processes) for each in found.growing] == [
        ("loader_processes", 8)
    ]
    assert found.growing[0].pids[0] == 7
    assert sorted(found.growing[0].pids) == list(range(2, 10))
    assert found.bytes_per_step == pytest.approx(2.25 * MB, rel=0.15)


def test_the_training_process_is_named(tmp_path):
    found = write_run(tmp_path, {MAIN: noisy(2e9, 0) + MB * at_step(), WORKER: noisy(3e8, 1)})
    assert [(each.holder, each.pid) for each in found.growing] == [("training_process", 1)]


def test_shared_memory_that_fills_is_named(tmp_path):
    found = write_run(tmp_path, {MAIN: noisy(2e9, 0)}, shm=1e8 + MB * at_step())
    assert [(each.holder, each.owner) for each in found.growing] == [("shared_memory", "box")]


def test_processes_that_start_and_end_with_epochs_are_no_growth(tmp_path):
    """Eight of 300 MB in each of three epochs, one process after the other."""
    sizes = {MAIN: noisy(2e9, 0)}
    for epoch, begin in enumerate((0, 18, 36)):
        for worker in range(8):
            alive = noisy(3e8, worker)
            alive[: begin + worker // 2] = np.nan
            alive[begin + 17 :] = np.nan
            sizes[100 * epoch + 10 + worker, "worker"] = alive
    found = write_run(tmp_path, sizes)
    assert found.growing == ()
    assert found.num_judged > 0


def test_processes_that_start_late_and_stay_are_no_growth(tmp_path):
    sizes = {MAIN: noisy(2e9, 0)}
    for worker in range(8):
        alive = noisy(3e8, worker)
        alive[: 20 + 2 * worker] = np.nan
        sizes[10 + worker, "worker"] = alive
    assert write_run(tmp_path, sizes).growing == ()


def test_growth_that_a_process_gave_back_by_its_end_does_not_count(tmp_path):
    ended = noisy(3e8, 1) + 5 * MB * at_step()
    ended[40:] = np.nan
    assert write_run(tmp_path, {MAIN: noisy(2e9, 0), WORKER: ended}).growing == ()


def test_without_samples_the_training_process_is_known_from_its_steps(tmp_path):
    run = load_run([write_facts(tmp_path, make_run(100))])
    found = compute_host_growth(run, compute_memory_courses(run))
    assert [(each.holder, each.pid) for each in found.growing] == [("training_process", None)]
    assert found.bytes_per_step == pytest.approx(MB)
    assert found.stretch == pytest.approx((21, 100), abs=1)


def test_a_text_log_tells_the_tree(tmp_path):
    memory = "[Step {}] Memory - Process: {}.0MB (1.0%), System: 50.0/100.0GB (50.0%)"
    lines = log_lines(make_run(3))
    lines += [memory.format(100 * n, 1000 + 50 * n) for n in range(1, 30)]
    run = load_run([write_lines(tmp_path / "a.log", lines)])
    found = compute_host_growth(run, compute_memory_courses(run))
    assert [each.holder for each in found.growing] == ["process_tree"]
    assert found.bytes_per_step == pytest.approx(2**20 / 2)


def test_a_few_steps_are_followed_but_not_judged(tmp_path):
    run = load_run([write_facts(tmp_path, make_run(4))])
    found = compute_host_growth(run, compute_memory_courses(run))
    assert (found.num_steps, found.num_judged, found.growing) == (3, 0, ())


def test_nothing_followed_is_none():
    assert HostGrowth().num_steps is None
    assert HostGrowth().bytes_per_step == 0


FILLED = 8 * MB + np.arange(SAMPLES) * 2e5 / STEP_S


@pytest.mark.parametrize("figure", ["shared_bytes", "written_bytes"])
def test_who_fills_shared_memory_is_named(tmp_path, figure):
    grown = 100 * MB + np.arange(SAMPLES) * 2e5 / STEP_S
    figures = {2: {figure: grown}}
    processes = {MAIN: noisy(600 * MB, 1), WORKER: noisy(200 * MB, 2)}
    found = write_run(tmp_path, processes, FILLED, figures)
    (growing,) = found.growing
    assert (growing.holder, growing.pid, growing.filler) == ("shared_memory", 2, "loader_process")
    assert holder_name(growing) == "the shared memory of box, filled by loader process 2"


def test_the_rank_of_a_process_is_told(tmp_path):
    processes = {MAIN: noisy(600 * MB, 1), WORKER: noisy(2e8, 2) + MB * at_step()}
    figures = {2: {"rank": np.full(SAMPLES, 3)}}
    (growing,) = write_run(tmp_path, processes, figures=figures).growing
    assert holder_name(growing) == "loader process 2 (rank 3)"


def test_nobody_is_named_who_fills_little_of_it(tmp_path):
    figures = {2: {"written_bytes": np.arange(SAMPLES) * 2e4}}
    processes = {MAIN: noisy(600 * MB, 1), WORKER: noisy(200 * MB, 2)}
    (growing,) = write_run(tmp_path, processes, FILLED, figures).growing
    assert (growing.pid, growing.filler) == (None, None)
    assert holder_name(growing) == "the shared memory of box"
