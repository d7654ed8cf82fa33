"""TensorBoard reads the scalars back."""

import os
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vrtspike.profiling.records import MemoryRecord, SpanRecord, StagesRecord, StepRecord
from vrtspike.profiling.tensorboard_scalars import TensorboardScalars


def add(scalars, number, ms, tags=()):
    step = StepRecord(
        step=number,
        start_unix_s=0.0,
        micro_batches=1,
        samples=2,
        clock="host",
        host_ms={"data_wait": 1.0, "forward": ms - 1, "step": ms},
        tags=tags,
        loss=0.5,
        loss_terms={"charb": 0.25},
        lr=1e-4,
        memory=MemoryRecord(process_rss_bytes=3 * 2**20),
    )
    ms_of = {"vrt.stage1": ms / 2, "forward.other": 0.5}
    stages = StagesRecord(step=number, phase="forward", clock="host", ms=ms_of, calls={})
    scalars.on_step(step, [stages])


def read(folder):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags}


def test_tensorboard_shows_each_window_once(tmp_path, clock):
    scalars = TensorboardScalars(tmp_path / "run", every_steps=2, world_size=2, clock=clock)
    add(scalars, 1, 900.0, tags=("first",))
    add(scalars, 2, 10.0)
    add(scalars, 3, 20.0)
    values = {"PSNR_RGB": 28.5, "note": "text", "LPIPS": None}
    scalars.on_span(
        SpanRecord(name="validation", step=3, start_unix_s=0.0, host_ms=70.0, values=values)
    )
    scalars.close()
    shown = read(tmp_path / "run")
    assert shown["time/step_ms"] == [(2, 10.0), (3, 20.0)]
    assert shown["stages_ms/vrt.stage1"] == [(2, 5.0), (3, 10.0)]
    assert shown["phases_ms/forward"] == [(2, 9.0), (3, 19.0)]
    assert shown["data/data_wait_ms"] == [(2, 1.0), (3, 1.0)]
    assert shown["throughput/samples_per_s"] == [(2, 400.0), (3, 200.0)]
    assert shown["train/loss"] == [(2, 0.5), (3, 0.5)]
    assert shown["train/lr"][0] == (2, pytest.approx(1e-4))
    assert shown["memory/process_rss_mib"] == [(2, 3.0), (3, 3.0)]
    assert shown["val/psnr_rgb"] == [(3, 28.5)]
    assert shown["time/validation_ms"] == [(3, 70.0)]
    assert not {"val/note", "val/lpips", "phases_ms/step"} & set(shown)


def test_points_are_on_disk_before_the_run_ends(tmp_path, clock):
    scalars = TensorboardScalars(tmp_path, every_steps=1, clock=clock)
    add(scalars, 1, 10.0)
    assert read(tmp_path)["time/step_ms"] == [(1, 10.0)]
    scalars.close()


def test_a_folder_that_cannot_be_made_costs_the_scalars_and_is_left_to_others_to_say(clock, caplog):
    scalars = TensorboardScalars(Path("/dev/null/run"), every_steps=1, clock=clock)
    add(scalars, 1, 10.0)
    scalars.close()
    assert caplog.records == []


def test_a_file_that_cannot_be_opened_costs_the_scalars_only(tmp_path, clock, caplog):
    (tmp_path / f"events.out.tfevents.{int(clock.unix_s())}.box.{os.getpid()}").mkdir()
    scalars = TensorboardScalars(tmp_path, every_steps=1, host="box", clock=clock)
    add(scalars, 1, 10.0)
    scalars.close()
    assert caplog.text.count("no TensorBoard scalars in") == 1
