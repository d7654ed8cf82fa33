"""The step time of an earlier run: which run counts, and what of it."""

import json
import socket

import pytest

from vrtspike.engine.earlier_steps import Where, earlier_step_time

HERE = Where(device="cpu", ranks=1)
SETTINGS = {"MODEL": {"DEPTHS": [2, 2]}, "TRAIN": {"BATCH_SIZE": 1}, "LOG": {"X": 1}}


def write_run(folder, number, step_ms=(100.0,) * 6, **changes):
    run = folder / f"train_20260101_00000{number}_abcd"
    run.mkdir(parents=True)
    meta = {
        "device": {"type": "cpu", "name": "some"},
        "host": socket.gethostname(),
        "world_size": 1,
        "config": SETTINGS,
        **changes,
    }
    (run / "meta.json").write_text(json.dumps(meta))
    lines = [
        {"kind": "step", "tags": [], "host_ms": {"step": ms + 7, "data_wait": 7.0}}
        for ms in step_ms
    ]
    lines.append({"kind": "step", "tags": ["first"], "host_ms": {"step": 9e6, "data_wait": 0.0}})
    (run / "steps.rank0.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_the_newest_run_of_the_same_network_tells_without_its_wait_for_data(tmp_path):
    write_run(tmp_path, 1, (50.0,) * 6)
    newest = write_run(tmp_path, 2, (100.0, 100.0, 90.0, 110.0, 500.0))
    found, _ = earlier_step_time(tmp_path, SETTINGS, HERE)
    assert found.ms == 100.0
    assert found.source == f"run {newest.name}"


@pytest.mark.parametrize(
    "changes",
    [
        {"config": {**SETTINGS, "TRAIN": {"BATCH_SIZE": 2}}},
        {"config": None},
        {"device": {"type": "cuda"}},
        {"device": "cpu"},
        {"world_size": 2},
        {"host": "elsewhere"},
    ],
)
def test_runs_of_another_kind_are_passed_over(tmp_path, changes):
    write_run(tmp_path, 1, (50.0,) * 6)
    write_run(tmp_path, 2, **changes)
    assert earlier_step_time(tmp_path, SETTINGS, HERE)[0].ms == 50.0


def test_another_host_with_the_same_device_counts(tmp_path):
    write_run(tmp_path, 1, host="elsewhere")
    where = Where(device="cpu", ranks=1, device_name="some")
    assert earlier_step_time(tmp_path, SETTINGS, where)[0].ms == 100.0


def test_settings_without_effect_on_a_step_may_differ(tmp_path):
    write_run(tmp_path, 1)
    assert earlier_step_time(tmp_path, {**SETTINGS, "LOG": {"X": 2}}, HERE)[0] is not None


def test_a_gpus_own_clock_counts(tmp_path):
    run = write_run(tmp_path, 1)
    line = {"kind": "step", "host_ms": {"step": 9.0}, "device_ms": {"step": 80.0, "data_wait": 5.0}}
    (run / "steps.rank0.jsonl").write_text((json.dumps(line) + "\n") * 5)
    assert earlier_step_time(tmp_path, SETTINGS, HERE)[0].ms == 75.0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]\n" * 9, '{"kind": "step", "host_ms": {"step": "x"}}\n' * 9, "\x00\xff" * 99],
)
def test_what_cannot_be_read_tells_nothing(tmp_path, text):
    run = write_run(tmp_path, 1)
    (run / "steps.rank0.jsonl").write_text(text)
    found, reason = earlier_step_time(tmp_path, SETTINGS, HERE)
    assert found is None
    assert "no earlier run" in reason


def test_few_steps_or_no_folder_tell_nothing(tmp_path):
    write_run(tmp_path, 1, (100.0,) * 4)
    assert earlier_step_time(tmp_path, SETTINGS, HERE)[0] is None
    assert earlier_step_time(tmp_path / "none", SETTINGS, HERE)[0] is None


def test_of_a_long_run_the_last_steps_count(tmp_path):
    write_run(tmp_path, 1, (900.0,) * 20_000 + (100.0,) * 20_000)
    assert earlier_step_time(tmp_path, SETTINGS, HERE)[0].ms == 100.0
