"""The checklist: both sides of every limit, and what was not measured is no failure."""

from dataclasses import replace

import numpy as np
import pytest

from diagnostics.analyses.loss_trend import LossTrend, compute_loss_trend
from diagnostics.analyses.quality import Quality, ValidationPoint
from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.load import load_run
from diagnostics.rules.checklist import ChecklistEvidence, fill_checklist
from diagnostics.rules.measurements import Measurements
from tests.diagnostics.factories import MadeRun, make_step, write_facts

GIB = 1 << 30


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    steps = [make_step(step) for step in range(1, 31)]
    folder = write_facts(tmp_path_factory.mktemp("runs") / "run", MadeRun(ranks=[steps]))
    return analyse_run(load_run([folder]))


def point(step, psnr, own=None, ssim=None):
    return ValidationPoint(
        step=step, psnr_rgb_db=psnr, psnr_y_db=None, ssim_y=ssim, input_psnr_rgb_db=own,
        gain_db=None if own is None else psnr - own,
    )  # fmt: skip


def quality(*points):
    return Quality(points=points, last=points[-1] if points else None)


def trend(low, value, high, num_steps=50):
    return LossTrend(
        num_steps=num_steps, first_step=2, last_step=51, median_loss=0.1, change_share=value,
        low_share=low, high_share=high,
    )  # fmt: skip


def line(analysis, item, *, measured=None, **known):
    evidence = ChecklistEvidence(
        measured=Measurements(**(measured or {})),
        analysis=analysis,
        **{"loss": None, "num_checkpoints": 0, "resumed_from": None, **known},
    )
    found = {each.item: each for each in fill_checklist(evidence)}
    return found[item]


def status(analysis, item, **known):
    return line(analysis, item, **known).status


@pytest.mark.parametrize(
    ("item", "measured", "expected"),
    [
        ("no NaN, no Inf", {"num_nonfinite": 0}, "pass"),
        ("no NaN, no Inf", {"num_nonfinite": 1}, "fail"),
        ("no NaN, no Inf", {}, "not_measured"),
        ("GPU use", {"device": "cuda", "gpu_util_percent": 91.0}, "pass"),
        ("GPU use", {"device": "cuda", "gpu_util_percent": 89.0}, "fail"),
        ("GPU use", {"device": "cpu"}, "not_measured"),
        ("cache hit rate", {"cache_hit_rate": 0.76, "cache_num_reads": 500}, "pass"),
        ("cache hit rate", {"cache_hit_rate": 0.74, "cache_num_reads": 500}, "fail"),
        ("cache hit rate", {"cache_hit_rate": 0.1, "cache_num_reads": 20}, "not_measured"),
        ("cache hit rate", {}, "not_measured"),
        (
            "GPU memory lower or acceptable",
            {"device": "cuda", "device_memory_peak_bytes": 89, "device_memory_total_bytes": 100},
            "pass",
        ),
        (
            "GPU memory lower or acceptable",
            {"device": "cuda", "device_memory_peak_bytes": 91, "device_memory_total_bytes": 100},
            "fail",
        ),
        ("GPU memory lower or acceptable", {"device": "cuda"}, "not_measured"),
        (
            "host memory is stable",
            {"host_memory_growth_bytes_per_step": GIB / 2100, "host_memory_course_steps": 100},
            "pass",
        ),
        (
            "host memory is stable",
            {"host_memory_growth_bytes_per_step": GIB / 1900, "host_memory_course_steps": 100},
            "fail",
        ),
        (
            "host memory is stable",
            {"host_memory_growth_bytes_per_step": GIB / 9900, "host_memory_course_steps": 5000},
            "fail",
        ),
        (
            "host memory is stable",
            {"host_memory_growth_bytes_per_step": GIB, "host_memory_course_steps": 49},
            "not_measured",
        ),
        ("CPU use", {"host_cpu_percent": 84.0}, "pass"),
        ("CPU use", {"host_cpu_percent": 86.0}, "fail"),
        ("CPU use", {}, "not_measured"),
        (
            "CPU use",
            {"host_cpu_percent": 99.0, "machine_cores": 8, "own_cores": 2.0, "foreign_cores": 5.9},
            "pass",
        ),
        (
            "CPU use",
            {"host_cpu_percent": 99.0, "machine_cores": 8, "own_cores": 7.9, "foreign_cores": 0.0},
            "fail",
        ),
        ("disk is no bottleneck", {"data_wait_exposed_ms": 4.0, "step_ms": 100.0}, "pass"),
        (
            "disk is no bottleneck",
            {"data_wait_exposed_ms": 40.0, "step_ms": 100.0, "loading_shares": {"read": 0.1}},
            "pass",
        ),
        (
            "disk is no bottleneck",
            {"data_wait_exposed_ms": 40.0, "step_ms": 100.0, "loading_shares": {"read": 0.9}},
            "fail",
        ),
        ("disk is no bottleneck", {"data_wait_exposed_ms": 40.0, "step_ms": 100.0}, "not_measured"),
        (
            "disk is no bottleneck",
            {
                "data_wait_exposed_ms": 40.0,
                "step_ms": 100.0,
                "loading_shares": {"read": 0.9},
                "later_wait_ms": 1.0,
                "later_step_ms": 60.0,
            },
            "pass",
        ),
        ("samples/s reaches its target", {}, "not_measured"),
        ("samples/s reaches its target", {"samples_per_s": 5.0}, "not_measured"),
    ],
)
def test_both_sides_of_a_limit(analysis, item, measured, expected):
    assert status(analysis, item, measured=measured) == expected


@pytest.mark.parametrize(("target", "expected"), [(4.9, "pass"), (5.1, "fail")])
def test_the_target_is_the_users(analysis, target, expected):
    measured = {"samples_per_s": 5.0}
    known = status(
        analysis, "samples/s reaches its target", measured=measured, target_samples_per_s=target
    )
    assert known == expected


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (trend(-0.5, -0.3, -0.1), "pass"),
        (trend(0.1, 0.3, 0.5), "fail"),
        (trend(-0.1, -0.05, 0.1), "not_measured"),
        (trend(-0.5, -0.3, -0.1, num_steps=19), "not_measured"),
        (None, "not_measured"),
    ],
)
def test_the_loss(analysis, loss, expected):
    assert status(analysis, "loss converges", loss=loss) == expected


@pytest.mark.parametrize(
    ("own", "baseline", "expected"),
    [
        (quality(point(10, 28.0, 27.5)), None, "pass"),
        (quality(point(10, 27.0, 27.5)), None, "fail"),
        (quality(point(10, 27.0)), None, "not_measured"),
        (quality(), None, "not_measured"),
        (quality(point(10, 27.8, 29.0)), quality(point(10, 28.0)), "pass"),
        (quality(point(10, 27.6, 27.0)), quality(point(10, 28.0)), "fail"),
        (quality(point(10, 28.0, ssim=0.90)), quality(point(10, 28.0, ssim=0.92)), "fail"),
        (quality(point(10, 28.0, 27.0)), quality(point(20, 40.0)), "pass"),
    ],
)
def test_quality_against_the_baseline_at_the_same_step_else_the_input(
    analysis, own, baseline, expected
):
    known = status(
        replace(analysis, quality=own),
        "PSNR and SSIM acceptable",
        baseline_quality=baseline,
    )
    assert known == expected


def test_checkpoints(analysis):
    assert status(analysis, "checkpoints are saved", num_checkpoints=2) == "pass"
    assert status(analysis, "checkpoints are saved") == "not_measured"
    assert status(analysis, "checkpoints can be loaded", resumed_from="train_x") == "pass"
    assert status(analysis, "checkpoints can be loaded") == "not_measured"


def test_the_guides_order_and_groups(analysis):
    evidence = ChecklistEvidence(
        measured=Measurements(), analysis=analysis, loss=None, num_checkpoints=0, resumed_from=None
    )
    groups = [each.group for each in fill_checklist(evidence)]
    assert groups == ["function"] * 5 + ["performance"] * 4 + ["resources"] * 4
    assert all(each.note or each.value is not None for each in fill_checklist(evidence))


def test_data_time_is_the_hosts_wait(analysis):
    found = line(analysis, "data_time", measured={"data_wait_exposed_ms": 1.0})
    assert (found.status, found.value) == ("pass", 1.0)
    assert found.note == "mean wait of the host in one step"


def test_data_time_says_how_it_differs_from_what_delays_a_step(analysis):
    found = line(analysis, "data_time", measured={"data_wait_exposed_ms": 0.3})
    assert found.value == 1.0
    assert found.note.endswith("nothing hides 0.3 ms of a step's waits, which DL001 judges")


@pytest.mark.parametrize(
    ("later_ms", "first_ms", "expected"), [(2.9, 50.0, 2.0), (3.1, 50.0, 1.0), (2.9, 4.0, 1.0)]
)
def test_data_time_leaves_a_first_epoch_out_that_alone_waits(
    analysis, later_ms, first_ms, expected
):
    measured = {
        "first_wait_ms": first_ms,
        "first_step_ms": 100.0,
        "later_wait_ms": later_ms,
        "later_step_ms": 60.0,
        "later_fetch_wait_ms": 2.0,
    }
    found = line(analysis, "data_time", measured=measured)
    assert found.value == expected
    assert ("after the first epoch, whose steps waited" in found.note) == (expected == 2.0)


def test_the_cpu_use_of_others_is_told_apart(analysis):
    measured = {
        "machine_cores": 8,
        "own_cores": 2.0,
        "foreign_cores": 5.0,
        "host_cpu_percent": 88.0,
    }
    found = line(analysis, "CPU use", measured=measured)
    assert found.value == 25.0
    assert found.note == "by this run's processes; others take 62 %"
    found = line(analysis, "CPU use", measured={"host_cpu_percent": 88.0})
    assert found.status == "fail"
    assert "is not known" in found.note


def test_another_loops_lines_name_no_key_of_ours(analysis):
    evidence = ChecklistEvidence(
        measured=Measurements(), analysis=analysis, loss=None, num_checkpoints=0,
        resumed_from=None, is_ours=False,
    )  # fmt: skip
    said = " ".join(each.note or "" for each in fill_checklist(evidence))
    for word in ("LOG.", "DATA.", "PROFILING.", "vrtspike.train"):
        assert word not in said
    ours = " ".join(each.note or "" for each in fill_checklist(replace(evidence, is_ours=True)))
    assert "LOG.VAL_EVERY_STEPS" in ours


def test_a_falling_loss_is_seen_through_noise(tmp_path):
    generator = np.random.default_rng(0)
    steps = [replace(make_step(step, generator.uniform(0.9, 1.1))) for step in range(1, 61)]
    run = load_run([write_facts(tmp_path / "run", MadeRun(ranks=[steps]))])
    found = compute_loss_trend(run)
    assert found.high_share < 0
    assert found.num_steps == 60
