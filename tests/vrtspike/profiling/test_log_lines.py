"""Every line has exactly the documented form."""

from pathlib import Path

import pytest

from vrtspike.profiling import log_lines
from vrtspike.profiling.log_lines import GIB, MIB, StepFigures
from vrtspike.profiling.memory import MemoryFigures

DOCUMENTED = (Path(__file__).parents[3] / "docs" / "records.md").read_text(encoding="utf-8")


def figures(percent=18.9, **device):
    return MemoryFigures(
        process_bytes=round(12345.6 * MIB),
        system_used_bytes=round(48.3 * GIB),
        system_total_bytes=256 * GIB,
        system_percent=percent,
        pressure_percent=percent,
        **device,
    )


def test_step_line():
    known = StepFigures(
        losses={"loss": 0.0234, "charb": 0.0189},
        lr=9.87e-5,
        gpu_memory=(0, round(1.2 * GIB)),
        samples_per_s=2.1,
        data_ms=4.2,
        step_ms=476.1,
    )
    line = log_lines.step_line(950, 8880, known)
    assert line in DOCUMENTED
    assert line.startswith("step 950/8880 | loss=0.0234 charb=0.0189 lr=9.87e-05 | GPU0_mem=1.2GB")


def test_step_line_without_what_is_unknown():
    known = StepFigures(losses={"loss": float("nan")}, data_ms=0.04, step_ms=1.0)
    line = log_lines.step_line(7, None, known)
    assert line == "step 7 | loss=nan | data_time=0.0ms step_time=1.0ms"


def test_stages_line_keeps_the_order_of_the_phases_and_ends_with_the_rest():
    phases = {
        "other": 3.4,
        "step": 476.1,
        "data_wait": 4.2,
        "h2d": 0.8,
        "forward": 151.3,
        "loss": 1.1,
        "backward": 302.9,
        "optimizer": 12.4,
    }
    stages = {"forward.other": 1.2, "flow": 9.1, "vrt.stage8": 48.2}
    line = log_lines.stages_line(950, 8880, "device", phases, stages)
    head, _, tail = line.partition(" | flow=9.1ms ")
    assert head in DOCUMENTED
    assert tail == "vrt.stage8=48.2ms forward.other=1.2ms"


def test_data_time_line():
    assert "    " + log_lines.data_time_line(4.2) in DOCUMENTED.splitlines()


def test_memory_line():
    line = log_lines.memory_lines("After dataset creation", figures())
    # The documented percentage of the process is rounded loosely: 12345.6 MB of 256 GB is 4.7 %.
    assert line.replace("(4.7%)", "(4.8%)") in DOCUMENTED


def test_memory_line_with_a_gpu():
    device = {"device_allocated_bytes": 8192 * MIB, "device_reserved_bytes": 9216 * MIB}
    line = log_lines.memory_lines("Step 100", figures(**device))
    assert line.endswith(", GPU: 8192.0MB allocated, 9216.0MB reserved")
    assert line.startswith("[Step 100] Memory - Process: 12345.6MB (4.7%), System: 48.3/256.0GB")


def test_the_warning_comes_above_ninety_percent_only():
    _, *warning = log_lines.memory_lines("Step 100", figures(percent=91.2)).splitlines()
    assert "\n".join(f"    {line}" for line in warning) in DOCUMENTED
    assert len(warning) == 2
    assert "\n" not in log_lines.memory_lines("Step 100", figures(percent=90.0))


def test_progress_line():
    elapsed_s = 9 * 3600 + 23 * 60 + 4
    line = log_lines.progress_line(940, 8880, elapsed_s, 79 * 3600 + 12 * 60 + 11)
    assert line in DOCUMENTED
    assert log_lines.progress_line(0, 10, 0.0, None).endswith("  0.0% | elapsed=0:00:00 | eta=?")
    assert "[####################] 100.0%" in log_lines.progress_line(10, 10, 1.0, 0.0)


def test_lines_of_the_training_loop():
    epoch = log_lines.epoch_line(
        1,
        steps=111,
        losses={"loss": 0.0312, "charb": 0.0251},
        lr=4.34e-5,
        time_s=4012.3,
        samples_per_s=0.1,
    )
    validation = log_lines.validation_line(
        1000, {"PSNR_RGB": 28.54, "PSNR_Y": 29.91, "SSIM_Y": 0.8712}, {"PSNR_RGB": 27.2}
    )
    end = log_lines.end_line("finished", 8880, 79 * 3600 + 12 * 60 + 11)
    checkpoint = log_lines.checkpoint_line(1000, "outputs/checkpoints/<run_id>/last.pt")
    numerics = log_lines.numerics_line(12, "loss is nan", "vrt.stage3 output", "...")
    no_gpu = log_lines.no_gpu_line("NVML Shared Library Not Found")
    for line in (epoch, validation, end, checkpoint, numerics, no_gpu):
        assert f"    {line}\n" in DOCUMENTED


def test_run_line():
    line = log_lines.run_line("<run_id>", "<folder relative to the log>", "host")
    assert line.replace("clock=host", "clock=device|host") in DOCUMENTED


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (59.6, "0:01:00"),
        (360000, "100:00:00"),
        (-1, "0:00:00"),
        (3.6e18, "1000000000000000:00:00"),
    ],
)
def test_clock_text(seconds, text):
    assert log_lines.clock_text(seconds) == text
