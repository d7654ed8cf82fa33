"""Single lines: ours, the documented ones, and the original trainer's."""

import math

import pytest

from diagnostics.parsers import log_lines
from diagnostics.parsers.line_shapes import read_values
from diagnostics.parsers.log_formats import vrt_spike

GIB = 1024**3


def record_of(read, line):
    reading = read(line.encode())
    if reading is None:
        return None
    numbers = dict(zip(reading.names, read_values(line.encode(), reading), strict=True))
    return numbers | dict(reading.words)


def parse_step(line):
    return record_of(vrt_spike.read_step, line)


def parse_memory(line):
    return record_of(vrt_spike.read_memory, line)


def parse_progress(line):
    return record_of(vrt_spike.read_progress, line)


def test_our_step_line():
    record = parse_step(
        "step 950/8880 | loss=0.0234 charb=0.0189 lr=9.87e-05 | GPU0_mem=1.2GB | 2.1 samples/s | "
        "data_time=4.2ms step_time=476.1ms"
    )
    assert record == {
        "step": 950,
        "total_steps": 8880.0,
        "loss": 0.0234,
        "charb": 0.0189,
        "lr": 9.87e-05,
        "gpu_memory_bytes": pytest.approx(1.2 * GIB),
        "samples_per_s": 2.1,
        "data_time_ms": 4.2,
        "step_time_ms": 476.1,
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "step 950/8880 | loss=0.0234 charb=0.0189 vgg=0.0451 lr=9.87e-05 | GPU0_mem=1.2GB | "
            "0.5 samples/s | data_time=0.1ms",
            {"step": 950, "vgg": 0.0451, "samples_per_s": 0.5, "data_time_ms": 0.1},
        ),
        (
            "step 950/8880 | ... | 0.5 samples/s | data_time=0.1ms",
            {"step": 950, "samples_per_s": 0.5, "data_time_ms": 0.1},
        ),
        ("step 100 | loss=0.0234 | data_time=18.5ms", {"step": 100, "data_time_ms": 18.5}),
        (
            "step 7/9 | loss=nan | data_time=1.0ms",
            {"step": 7, "loss": pytest.approx(math.nan, nan_ok=True), "data_time_ms": 1.0},
        ),
    ],
)
def test_step_lines_of_the_original(line, expected):
    record = parse_step(line)
    assert {key: record[key] for key in expected} == expected


@pytest.mark.parametrize(
    "line", ["step 5 of the plan | foo", "step x/y | loss=1", "timestep 5 | loss=1"]
)
def test_what_only_looks_like_a_step_line(line):
    assert parse_step(line) is None


def test_memory_lines():
    record = parse_memory(
        "[Step 100] Memory - Process: 15678.9MB (6.1%), System: 125.4/256.0GB (49.0%), "
        "GPU: 8192.0MB allocated, 9216.0MB reserved"
    )
    assert record["step"] == 100
    assert record["process_rss_bytes"] == pytest.approx(15678.9 * 1024**2)
    assert record["system_total_bytes"] == 256 * GIB
    assert record["gpu_allocated_bytes"] == 8 * GIB
    record = parse_memory(
        "[After dataset creation] Memory - Process: 12345.6MB (4.8%), System: 48.3/256.0GB (18.9%)"
    )
    assert record["label"] == "After dataset creation"
    assert "step" not in record
    assert "gpu_allocated_bytes" not in record
    assert record["system_percent"] == 18.9


def test_validation_lines_of_both_trainers():
    ours = "[val] step 1000 | PSNR_RGB=28.54 PSNR_Y=29.91 SSIM_Y=0.8712 | input PSNR_RGB=27.20"
    assert log_lines.parse_validation(ours) == {
        "step": 1000,
        "psnr_rgb_db": 28.54,
        "psnr_y_db": 29.91,
        "ssim_y": 0.8712,
        "input_psnr_rgb_db": 27.20,
    }
    original = "[val] step 1000 | PSNR_RGB=28.54 PSNR_Y=29.91 SSIM_Y=0.8712 LPIPS=0.1534"
    assert "input_psnr_rgb_db" not in log_lines.parse_validation(original)
    assert log_lines.parse_validation("[val] step 1000 | nothing") is None


def test_progress_and_end_lines():
    line = "[progress] 940/8880 [##..................]  10.6% | elapsed=9:23:04 | eta=79:12:11"
    assert parse_progress(line) == {
        "step": 940,
        "total_steps": 8880.0,
        "elapsed_h": 9,
        "elapsed_m": 23,
        "elapsed_s": 4,
        "eta_h": 79,
        "eta_m": 12,
        "eta_s": 11,
    }
    unknown = parse_progress(line.replace("79:12:11", "?"))
    assert unknown["elapsed_h"] == 9
    assert "eta_s" not in unknown
    end = log_lines.parse_end("[end] interrupted | steps=8880 | elapsed=0:00:12")
    assert end == ("interrupted", 8880, 12)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  - Hit Rate: 82.45% (8245 hits / 1755 misses)", {"hits": 8245, "misses": 1755}),
        ("Cache hit rate: 45.2% (4520 hits / 5480 misses)", {"hits": 4520, "misses": 5480}),
        (
            "Cache stats: hits=850/1000 (85.0%), size=3.2GB/4.0GB",
            {"hits": 850, "misses": 150, "limit_bytes": 4 * GIB},
        ),
        (
            "[SpikeDeblurDataset] Cache preloaded: 0 items, 0.0GB / 30.0GB",
            {"num_items": 0, "used_bytes": 0, "limit_bytes": 30 * GIB},
        ),
        ("  - Memory: 49876.3 / 51200.0 MB", {"limit_bytes": 50 * GIB}),
    ],
)
def test_cache_lines(line, expected):
    record = log_lines.parse_cache(line)
    assert {key: record[key] for key in expected} == expected


def test_run_line_with_blanks_in_its_folder():
    line = "[run] id=train_1 schema=1 facts=../my runs/train_1 clock=device"
    fields = {"id": "train_1", "schema": "1", "facts": "../my runs/train_1", "clock": "device"}
    assert log_lines.parse_run(line) == fields


@pytest.mark.parametrize("text", ["", "1:2", "1:2:3:4", "a:b:c", "1" * 40 + ":00:00"])
def test_what_is_no_duration(text):
    assert log_lines.seconds(text) is None
