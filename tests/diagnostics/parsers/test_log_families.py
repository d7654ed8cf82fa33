"""Logs of other trainers, made by hand from their formats: steps, times and units arrive."""

import random
from pathlib import Path

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers import line_scanner
from diagnostics.parsers.log_formats.registry import FAMILIES, FORMATS
from diagnostics.parsers.text_log import parse_text_log
from tests.diagnostics.factories import log_lines, make_run, write_lines
from tests.diagnostics.mutations import damaged_bytes

FOLDER = Path(__file__).resolve().parents[2] / "data" / "logs"

EXPECTED = {
    # file: family, steps, step ms of the second line, other phases' ms of that step
    "mmengine.log": ("MMEngine", [10, 20, 30, 40, 50, 60], 535.4, {"data_wait": 217.7}),
    "mmcv.log": ("MMEngine", [50, 100, 150], 502.0, {"data_wait": 11.0}),
    "basicsr.log": ("BasicSR/KAIR", [900, 1000, 1100], 1210.0, {"data_wait": 310.0}),
    "kair.log": ("BasicSR/KAIR", [200, 400, 600], 1002.5, {}),
    "kair_timed.log": (
        "BasicSR/KAIR",
        [100, 200],
        2070.0,
        {"data_wait": 1.3, "forward": 810.0, "backward": 1210.0, "optimizer": 20.0},
    ),
    "deepspeed.log": (
        "DeepSpeed",
        [5, 10, 15],
        5000.0,
        {"forward": 260.1, "backward": 799.38, "optimizer": 47.07, "other": 3893.45},
    ),
    "megatron.log": (
        "Megatron-LM",
        [100, 200],
        1230.5,
        {"data_wait": 2.0, "forward": 406.0, "backward": 798.0, "optimizer": 21.0, "other": 3.5},
    ),
    "torchtitan.log": ("torchtitan", [1, 10, 20, 30], 11000 / 9, {}),
    "torchtitan_metrics.jsonl": ("torchtitan metrics", [10, 20], 1300.0, {"data_wait": 400.0}),
    "hugging_face.log": ("Hugging Face Trainer", [50, 100, 150], 500.0, {}),
    "trainer_state.json": ("Hugging Face Trainer", [50, 100, 150], None, {}),
    "metrics.csv": ("Lightning CSV", [50, 100, 150], 510.0, {"data_wait": 110.0}),
    "traceml_summary.json": ("TraceML", [109], None, {}),
}


def times_at(log, step):
    rows = log.tables.phases[log.tables.phases["step"] == step]
    return dict(zip(rows["name"], rows["ms"], strict=True))


@pytest.mark.parametrize("name", EXPECTED)
def test_steps_and_times_arrive_in_ms(name):
    family, steps, step_ms, phases = EXPECTED[name]
    log = parse_text_log(FOLDER / name)
    assert log.family == family
    assert list(log.tables.log_steps["step"]) == steps
    if step_ms is not None:
        expected = {"step": step_ms, **phases}
        assert times_at(log, steps[1]) == {k: pytest.approx(v) for k, v in expected.items()}


def test_every_family_has_a_log_here():
    ours = {"vrt-spike", "original trainer"}
    assert {family.name for family in FAMILIES} == ours | {each[0] for each in EXPECTED.values()}


def test_what_beside_times_is_stated():
    titan = parse_text_log(FOLDER / "torchtitan.log").tables.log_steps.iloc[2]
    assert (titan["tokens_per_s"], titan["gpu_memory_bytes"]) == (6822, 47.37 * 2**30)
    megatron = parse_text_log(FOLDER / "megatron.log")
    assert (megatron.samples_per_step, megatron.total_steps) == (256, 500_000)
    assert megatron.clock == "device"
    assert any("wait for the GPU" in remark for remark in megatron.remarks)
    deepspeed = parse_text_log(FOLDER / "deepspeed.log").tables.log_steps
    assert list(deepspeed["samples_per_s"].round(1)) == [25.7, 25.6, 25.6]
    hugging = parse_text_log(FOLDER / "hugging_face.log")
    assert list(hugging.tables.log_steps["loss"]) == [0.5012, 0.4012, 0.3912]
    assert hugging.status == "finished"


def test_the_time_of_the_whole_run_tells_a_step():
    phases = parse_text_log(FOLDER / "trainer_state.json").tables.phases
    assert list(zip(phases["ms"], phases["num_steps"], strict=True)) == [(500.0, 150)]


def test_a_summary_stands_for_its_window():
    log = parse_text_log(FOLDER / "traceml_summary.json")
    assert set(log.tables.phases["num_steps"]) == {100}
    assert times_at(log, 109) == {
        "step": 200.4,
        "data_wait": 90.1,
        "h2d": 1.2,
        "forward": 30.0,
        "backward": 60.0,
        "optimizer": 8.0,
        "other": 11.1,
    }


def test_units_are_said_with_their_reason():
    (remark,) = parse_text_log(FOLDER / "mmengine.log").remarks
    assert remark == (
        "MMEngine: times read as seconds per iteration, because MMEngine writes seconds for each "
        "iteration, and the log's own clock agrees: 0.5 s per step"
    )


def test_milliseconds_where_seconds_were_expected_are_seen_by_the_time_stamps(tmp_path):
    text = (FOLDER / "mmengine.log").read_text("utf-8")
    path = tmp_path / "a.log"
    path.write_text(text.replace(" time: 0.", " time: ").replace("data_time: 0.", "data_time: "))
    log = parse_text_log(path)
    assert times_at(log, 20) == {"step": pytest.approx(5354.0), "data_wait": pytest.approx(2177.0)}


def test_time_in_ms_by_a_factor_of_a_thousand(tmp_path):
    lines = [
        f"2022/08/22 15:52:{n:02} - mmengine - INFO - Iter(train) [{2 * n:>4}/9000]  lr: 1.0e-03  "
        "eta: 0:18:23  time: 500.0  data_time: 20.0  memory: 392  loss: 5.3465"
        for n in range(10, 40)
    ]
    log = parse_text_log(write_lines(tmp_path / "a.log", lines))
    assert times_at(log, 40) == {"step": pytest.approx(500.0), "data_wait": pytest.approx(20.0)}
    (remark,) = log.remarks
    assert remark.startswith("MMEngine: times read as milliseconds per iteration, because the log")


def test_a_log_of_nobody_names_the_families(tmp_path):
    path = write_lines(tmp_path / "a.log", ["Training...", "acc 0.5", "timestep 5 | took 9 us"])
    with pytest.raises(DiagnosticsError, match="none of its 3 lines has a known format") as raised:
        parse_text_log(path)
    for family in FAMILIES:
        assert family.name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_lines_of_two_families_are_not_mixed(tmp_path):
    text = (FOLDER / "mmengine.log").read_text("utf-8") + (FOLDER / "kair.log").read_text("utf-8")
    path = tmp_path / "a.log"
    path.write_text(text, encoding="utf-8")
    log = parse_text_log(path)
    assert log.family == "MMEngine"
    assert "3 step lines look like those of BasicSR/KAIR; they were left out" in log.notes


def test_a_clock_that_goes_back_is_said_and_gives_no_negative_time(tmp_path):
    lines = (FOLDER / "kair.log").read_text("utf-8").splitlines()
    later = [line.replace("12:", "11:").replace("iter:     ", "iter:     1") for line in lines]
    log = parse_text_log(write_lines(tmp_path / "a.log", [*lines, *later]))
    assert "the clock of its lines goes back 1 time: what lies across is left out" in log.notes
    assert (log.tables.phases["ms"] >= 0).all()


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith(".log")])
def test_the_fast_way_reads_what_the_careful_one_does(name, tmp_path, monkeypatch):
    lines = (FOLDER / name).read_bytes().splitlines()
    fast = line_scanner.LineScanner(FORMATS)
    fast.add(lines * 3, 1)
    monkeypatch.setattr(line_scanner, "_MAX_SHAPES", 0)
    careful = line_scanner.LineScanner(FORMATS)
    careful.add(lines * 3, 1)
    one, other = fast.close(), careful.close()
    assert one.num_recognised == other.num_recognised
    assert {*one.columns} == {*other.columns}
    for key, columns in one.columns.items():
        for ours, theirs in zip(columns.joined(), other.columns[key].joined(), strict=True):
            np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("name", [*EXPECTED, "original_trainer.log", "original_timing.log"])
def test_damage_raises_nothing_but_our_error(name, tmp_path):
    content = (FOLDER / name).read_bytes()
    chance = random.Random(name)
    for number in range(25):
        path = tmp_path / f"{number}{Path(name).suffix}"
        path.write_bytes(damaged_bytes(content, chance))
        try:
            log = parse_text_log(path)
        except DiagnosticsError:
            continue
        assert (log.tables.phases["ms"] >= 0).all()
        assert (log.tables.phases["num_steps"] > 0).all()


def test_stamps_and_ranks_in_front_of_our_own_lines(tmp_path):
    lines = log_lines(make_run(10))
    plain = parse_text_log(write_lines(tmp_path / "a.log", lines))
    stamped = [
        f"2026-01-02 03:04:{n % 60:02},678 - [rank0]: {line}" for n, line in enumerate(lines)
    ]
    dressed = parse_text_log(write_lines(tmp_path / "b.log", stamped))
    for name in ("phases", "stages", "steps", "log_steps"):
        assert_frame_equal(getattr(plain.tables, name), getattr(dressed.tables, name))
