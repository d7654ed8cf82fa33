"""What a text log claims about its own times, held against itself."""

from pathlib import Path

import numpy as np
import pytest

from diagnostics.analyses.log_claims import (
    OF_EPOCH_LINES,
    OF_FORWARD,
    OF_STEP_LINES,
    compute_log_claims,
    half_digit,
)
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from tests.diagnostics.factories import log_lines, make_run, write_facts, write_lines

START = [
    "[train] Found 3 GPUs available",
    "  GPU 0: NVIDIA RTX A6000 (47.4 GB)",
    "[train] Using DistributedDataParallel with 3 GPUs",
    "[train]   - batch_size: 1 (per GPU)",
    "[train] Gradient accumulation steps: 6",
]
SAMPLES = 18


def original_log(path: Path, step_s: float, rate: float, extra=()):
    lines = [*START]
    for step in range(20, 1001, 20):
        seconds = round(step * step_s)
        clock = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        lines.append(f"[progress] {step}/8880 [#...]   1.0% | elapsed={clock} | eta=9:00:00")
        if step % 100 == 0:
            lines.append(
                f"step {step}/8880 | loss=0.1 charb=0.1 lr=1.00e-04 | GPU0_mem=1.2GB | "
                f"{rate:.1f} samples/s | data_time=0.1ms"
            )
    return write_lines(path, [*lines, *extra])


def claims_of(*paths):
    return compute_log_claims(load_run(paths))


def finding_of(path, code):
    report = build_report(load_run([path]))
    return next((each for each in report.findings if each.rule == code), None)


def test_time_that_no_figure_of_the_original_log_holds(tmp_path):
    """A step takes 40 s, of which its samples/s count 18 / 0.9 = 20 s."""
    path = original_log(tmp_path / "a.log", step_s=40.0, rate=0.9)
    claims = claims_of(path)
    assert claims.leaves_fetch_out
    assert claims.wall_step_ms == pytest.approx(40_000, rel=0.01)
    assert claims.timed_step_ms == pytest.approx(20_000)
    assert claims.untimed_ms == pytest.approx(20_000, rel=0.01)
    assert claims.untimed_low_ms == pytest.approx(40_000 - 18_000 / 0.85, rel=0.01)
    found = finding_of(path, "TR004")
    assert found.severity.label == "warn"
    assert found.cost_ms_per_step == pytest.approx(20_000, rel=0.01)


def test_a_difference_that_rounding_explains_costs_nothing(tmp_path):
    path = original_log(tmp_path / "a.log", step_s=36.0, rate=0.52)
    assert claims_of(path).untimed_low_ms == 0
    found = finding_of(path, "TR004")
    assert (found.severity.label, found.cost_ms_per_step) == ("note", None)


def test_windows_with_a_validation_do_not_count(tmp_path):
    lines = original_log(tmp_path / "a.log", step_s=10.0, rate=1.8).read_text().splitlines()
    late = [line.replace("elapsed=2:", "elapsed=3:") for line in lines]  # an hour at step 720
    late.insert(-40, "[val] step 719 | PSNR_RGB=28.54 PSNR_Y=29.91 SSIM_Y=0.8712")
    path = write_lines(tmp_path / "b.log", late)
    assert claims_of(path).wall_step_ms == pytest.approx(10_000, rel=0.02)


def test_epoch_lines_that_forget_the_accumulation(tmp_path):
    epoch = (
        "[epoch] 1 | steps=111 | loss=0.03 | lr=4.34e-05 | time=4012.3s | throughput=0.1 samples/s"
    )
    path = original_log(tmp_path / "a.log", step_s=36.0, rate=0.5, extra=[epoch])
    claims = {each.name: each for each in claims_of(path).rates}
    assert claims[OF_EPOCH_LINES].computed == pytest.approx(111 * SAMPLES / 4012.3)
    assert finding_of(path, "TR005").values["stated"] == 0.1


def test_a_rate_that_the_forward_alone_forbids(tmp_path):
    timing = [
        line
        for step in range(1, 30)
        for line in (f"Step {step}", "前向传播总耗时    : 1789.72ms (50.0%)")
    ]
    path = original_log(tmp_path / "a.log", step_s=6.0, rate=3.0)
    beside = write_lines(tmp_path / "timing_1.log", timing)
    claims = {each.name: each for each in claims_of(path, beside).rates}
    assert claims[OF_FORWARD].computed == pytest.approx(3 / 1.78972)
    possible = original_log(tmp_path / "b.log", step_s=6.0, rate=1.2)
    assert OF_FORWARD not in {each.name for each in claims_of(possible, beside).rates}


def test_our_own_log_agrees_with_itself_and_spans_the_fetch(tmp_path):
    path = write_lines(tmp_path / "a.log", log_lines(make_run(40), every=5))
    claims = claims_of(path)
    assert not claims.leaves_fetch_out
    (rate,) = claims.rates
    assert rate.name == OF_STEP_LINES
    assert rate.gap_share < 0.1
    assert finding_of(path, "TR004") is None
    assert finding_of(path, "TR005") is None


def test_facts_need_no_claims(tmp_path):
    assert claims_of(write_facts(tmp_path / "run", make_run(5))).rates == ()


@pytest.mark.parametrize(
    ("values", "half"), [([0.5, 12.0], 0.05), ([3.0], 0.5), ([0.125], 0.0005), ([1 / 3], 0.0)]
)
def test_half_of_the_last_printed_digit(values, half):
    assert half_digit(np.array(values)) == pytest.approx(half)
