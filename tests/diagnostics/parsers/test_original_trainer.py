"""The original trainer's published lines: every one is recognised, and what it states arrives."""

import random
from pathlib import Path

import pytest

from diagnostics.parsers.line_scanner import LineScanner
from diagnostics.parsers.log_formats.registry import FORMATS
from diagnostics.parsers.log_join import join_logs
from diagnostics.parsers.log_scan import without_escapes
from diagnostics.parsers.text_log import parse_text_log

FOLDER = Path(__file__).resolve().parents[2] / "data" / "logs"
FILES = ("original_trainer.log", "original_timing.log", "original_prints.log")


def published(name):
    lines = (FOLDER / name).read_bytes().splitlines()
    return [line for line in lines if line.strip(b"= ")]


@pytest.mark.parametrize("name", FILES)
def test_every_published_line_is_recognised(name):
    for line in published(name):
        scanner = LineScanner(FORMATS)
        scanner.add([line], 1)
        assert scanner.close().num_recognised == 1, line.decode()


def test_settings_of_the_start(tmp_path):
    log = parse_text_log(FOLDER / "original_trainer.log")
    assert log.family == "original trainer"
    assert log.status == "finished"
    assert log.total_steps == 8880
    assert (log.world_size, log.samples_per_step) == (3, 18)
    assert log.device == {
        "type": "cuda",
        "name": "NVIDIA RTX A6000",
        "memory_total_bytes": round(47.4 * 2**30),
    }
    assert log.config["TRAIN"] == {
        "BATCH_SIZE": 1,
        "COMPILE_MODEL": True,
        "AMP_ENABLED": True,
        "GRADIENT_ACCUMULATION_STEPS": 6,
    }
    assert log.config["DATALOADER"] == {
        "TRAIN_PREFETCH_FACTOR": 4,
        "PIN_MEMORY": True,
        "PERSISTENT_WORKERS": True,
        "TOTAL_WORKERS": 30,
    }


def stages_of(log, step):
    rows = log.tables.stages[log.tables.stages["step"] == step]
    return dict(zip(rows["name"], rows["ms"], strict=True))


def test_the_timing_log():
    log = parse_text_log(FOLDER / "original_timing.log")
    assert log.family == "original trainer"
    assert log.clock == "host"
    phases = log.tables.phases
    assert list(zip(phases["step"], phases["name"], phases["ms"], strict=True)) == [
        (1, "forward", 1805.28),
        (2, "forward", 1805.28),
    ]
    assert stages_of(log, 1) == {
        "vrt.stage8": 965.0,
        "vrt.stage2": 269.33,
        "spike_encoder": 3.10,
        "vrt.other": pytest.approx(1799.99 - 965.0 - 269.33),
        "forward.other": pytest.approx(1805.28 - 1799.99 - 3.10),
    }
    assert list(log.tables.steps["num_steps"]) == [1, 1]


def test_a_log_and_its_timing_log_are_one_whose_times_are_of_one_forward():
    log, timing = (parse_text_log(FOLDER / name) for name in FILES[:2])
    for pair in ((log, timing), (timing, log)):
        joined = join_logs(*pair)
        assert joined.path == log.path
        assert joined.is_unsynchronised
        assert stages_of(joined, 1) == stages_of(timing, 1)
        assert set(joined.tables.steps["micro_batches"]) == {1.0}
    assert join_logs(log, log) is None


def test_the_first_versions_prints_count_forwards(tmp_path):
    text = (FOLDER / "original_prints.log").read_text("utf-8")
    path = tmp_path / "train.log"
    path.write_text(text * 3, encoding="utf-8")
    log = parse_text_log(path)
    assert list(log.tables.steps["step"]) == [1, 2, 3]
    assert stages_of(log, 3) == {
        "spike_encoder": 128.40,
        "temporal_attention": 567.89,
        "vrt.stage1": 234.56,
        "vrt.stage2": 269.33,
        "fusion1": 248.48,
        "vrt.other": pytest.approx(1234.56 - 234.56 - 269.33 - 248.48),
        "forward.other": pytest.approx(0.0, abs=1e-9),
    }


def test_colours_and_cursor_movements_of_the_console_block(tmp_path):
    block = (
        "\x1b[4F\x1b[K\x1b[36m\x1b[1m┌─ Timing Profile (Step 42) ───\x1b[0m\n"
        "\x1b[K│ 前向传播总耗时                   \x1b[32m████░░░\x1b[0m  280.0ms 45.2%\n"
        "\x1b[K│ VRT处理                      \x1b[32m████░░░\x1b[0m  270.0ms 45.2%\n"
        "\x1b[K\x1b[36m└─ Total:  620.0ms ───\x1b[0m\n"
    )
    path = tmp_path / "train.log"
    path.write_text(block + block.replace("42", "43"), encoding="utf-8")
    log = parse_text_log(path)
    assert list(log.tables.phases["step"]) == [42, 43]
    assert stages_of(log, 42) == {"vrt.other": 270.0, "forward.other": 10.0}


def test_the_summary_at_the_end_tells_the_forward_where_no_block_does(tmp_path):
    lines = [line.decode() for line in published("original_trainer.log")]
    path = tmp_path / "train.log"
    path.write_text("\n".join([*(each for each in lines if "│" not in each), ""]), "utf-8")
    log = parse_text_log(path)
    rows = log.tables.phases[log.tables.phases["name"] == "forward"]
    assert list(zip(rows["ms"], rows["num_steps"], strict=True)) == [(280.0, 1000)]
    assert log.is_unsynchronised


def test_ranks_that_print_into_one_log(tmp_path):
    """Every rank prints its start-up lines; launchers put the rank in front."""
    alone = [line.decode() for line in published("original_trainer.log")]
    start, rest = alone[2:60], alone[60:]
    chance = random.Random(5)
    merged = [f"[rank{rank}]: {line}" for line in start for rank in range(3)]
    chance.shuffle(merged)
    path = tmp_path / "train.log"
    path.write_text("\n".join([*merged, *rest, ""]), encoding="utf-8")
    log = parse_text_log(path)
    whole = parse_text_log(FOLDER / "original_trainer.log")
    assert log.samples_per_step == whole.samples_per_step
    assert list(log.tables.log_steps["step"]) == list(whole.tables.log_steps["step"])


@pytest.mark.parametrize("name", FILES)
def test_damaged_utf8_costs_no_other_line(name):
    lines = published(name)
    chance = random.Random(name)
    for _ in range(20):
        place = chance.randrange(len(lines))
        at = chance.randrange(len(lines[place]))
        damaged = [*lines]
        damaged[place] = lines[place][:at] + b"\xe5\xff" + lines[place][at + 1 :]
        scanner = LineScanner(FORMATS)
        scanner.add(damaged, 1)
        assert scanner.close().num_recognised >= len(lines) - 1


def test_escapes_are_taken_out_of_text_alone():
    assert without_escapes(b"\x1b[36mstep\x1b[0m 1\x1b[F\x1b[K") == b"step 1"
