"""Summaries of machine, GPUs and processes; quality beside them."""

import json

import pytest

from diagnostics.analyses.quality import compute_quality
from diagnostics.analyses.resources import compute_resources
from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.load import load_run
from diagnostics.run import RunInfo
from tests.diagnostics.factories import (
    log_lines,
    make_run,
    resource_line,
    run_of,
    write_facts,
    write_lines,
)


def sampled(folder, lines):
    write_facts(folder, make_run(4))
    write_lines(folder / "resources.box.jsonl", lines)
    return load_run([folder])


def test_rates_are_differences_of_counters(tmp_path):
    reads = [100, 300, 50, 250]  # the counter began anew after the second sample
    lines = [
        resource_line(1000.0 + 2 * n, [1], disk_read_bytes=value, cpu_percent=10.0 * n)
        for n, value in enumerate(reads)
    ]
    (host,) = compute_resources(sampled(tmp_path, lines)).hosts
    assert host.disk_read_bytes_per_s == pytest.approx((200 + 0 + 200) / 6)
    assert host.disk_write_bytes_per_s is None
    assert (host.num_samples, host.duration_s) == (4, 6)
    assert host.cpu_percent.mean == 15
    assert host.cpu_percent.peak == 30
    assert host.swap_used_max_bytes is None


def test_processes_are_summed_by_role_and_sample(tmp_path):
    lines = [resource_line(1000.0, [1, 2, 3]), resource_line(1001.0, [4, 5])]
    resources = compute_resources(sampled(tmp_path, lines))
    (workers,) = resources.processes
    assert (workers.role, workers.max_count) == ("worker", 3)
    assert workers.rss_bytes.peak == 9
    assert workers.pss_bytes.count == 0
    assert resources.gpus == ()
    assert resources.gpus_absent_reason == "no NVIDIA GPU"


def test_gpus_are_kept_apart(tmp_path):
    lines = []
    for sample in range(10):
        body = json.loads(resource_line(1000.0 + sample, [1]))
        body["gpus"] = [
            {"index": 0, "name": "A", "util_percent": 10.0 * sample, "throttle_reasons": 1},
            {"index": 1, "name": "A", "memory_used_bytes": 7, "throttle_reasons": sample % 2 * 4},
        ]
        lines.append(json.dumps(body))
    first, second = compute_resources(sampled(tmp_path, lines)).gpus
    assert (first.index, second.index) == (0, 1)
    assert first.util_percent.mean == 45
    assert first.util_percent.p95 == pytest.approx(85.5)
    assert second.util_percent.mean is None
    assert second.memory_used_bytes.peak == 7
    assert (first.throttle_reasons, second.throttle_reasons) == (1, 4)


def test_nothing_sampled_is_said():
    resources = compute_resources(run_of(info=RunInfo(gpus_absent_reason="no NVIDIA GPU")))
    assert resources.reasons == ("the machine was not sampled",)
    assert resources.gpus_absent_reason == "no NVIDIA GPU"


def test_quality_by_validation(tmp_path):
    made = make_run(100, validations=(50,))
    for run in (
        load_run([write_facts(tmp_path / "facts", made)]),
        load_run([write_lines(tmp_path / "a.log", log_lines(made, 5))]),
    ):
        quality = compute_quality(run)
        assert quality.best == quality.last == quality.points[0]
        assert quality.best.gain_db == pytest.approx(1.3)
        assert quality.first_loss > quality.last_loss


def test_all_analyses_of_nothing_and_of_a_whole_run(tmp_path):
    nothing = analyse_run(run_of())
    assert nothing.memory == ()
    assert nothing.cache is None
    whole = analyse_run(sampled(tmp_path, [resource_line(1000.0, [1])]))
    assert whole.breakdown.count == 3
    assert whole.ranking.stages
    assert whole.throughput.samples_per_s > 0
