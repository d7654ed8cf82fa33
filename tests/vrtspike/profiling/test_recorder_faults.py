"""Nothing that happens to the recorder's outputs reaches the training."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil

from vrtspike.profiling.facts import FactsWriter
from vrtspike.profiling.machine_sampling import MachineSampling
from vrtspike.profiling.pending import MOST_TOGETHER
from vrtspike.profiling.recording import RankPlace
from vrtspike.profiling.records import EventRecord, RunRecord
from vrtspike.profiling.settings import ProfilingConfig
from vrtspike.profiling.tensorboard_scalars import TensorboardScalars


def test_a_facts_folder_that_cannot_be_made_costs_the_facts_only(new_recorder, heard, caplog):
    with new_recorder(facts_dir=Path("/dev/null/facts")) as recorder:
        recorder.begin_step(1)
        recorder.end_step(micro_batches=1, samples=1)
    assert [s.step for s in heard.steps] == [1]
    assert recorder.run.lost_lines == 1
    assert recorder.run.status == "finished"
    assert "cannot make the facts folder" in caplog.text


def test_a_folder_that_cannot_be_made_is_said_once_by_all_who_write_there(caplog):
    folder = Path("/dev/null/facts")
    scalars = TensorboardScalars(folder)
    sampling = MachineSampling(folder / "resources.box.jsonl", 0.1)
    sampling.start(SimpleNamespace(event=lambda name, **values: None))
    assert caplog.records == []
    writer = FactsWriter(folder, rank=0)
    writer.meta(RunRecord(run_id="train_20260102_030405_ab12", started_at="", status="running"))
    writer.span(EventRecord(name="cache_stats", step=1, at_unix_s=1.0, values={}))
    writer.close()
    sampling.finish()
    scalars.close()
    assert len(caplog.records) == 1
    assert writer.lost_lines == 1


def test_lost_lines_are_told_at_the_end(new_recorder, tmp_path):
    facts = tmp_path / "facts"
    facts.mkdir()
    (facts / "steps.rank0.jsonl").symlink_to("/dev/full")
    with new_recorder() as recorder:
        for step in (1, 2):
            recorder.begin_step(step)
            recorder.end_step(micro_batches=1, samples=1)
    assert json.loads((facts / "meta.json").read_text())["lost_lines"] == 2


def test_a_rank_without_meta_json_tells_of_its_lost_lines_in_an_event(
    new_recorder, read_lines, tmp_path
):
    facts = tmp_path / "facts"
    facts.mkdir()
    for rank in (0, 1):
        (facts / f"steps.rank{rank}.jsonl").symlink_to("/dev/full")
    for rank in (0, 1, 2):
        with new_recorder(place=RankPlace(rank=rank, local_rank=rank)) as recorder:
            recorder.begin_step(1)
            recorder.end_step(micro_batches=1, samples=1)
    told = [read_lines(facts / f"spans.rank{rank}.jsonl") for rank in (0, 1, 2)]
    assert [[(e["name"], e["values"]) for e in events] for events in told] == [
        [],
        [("lines_lost", {"lines": 1})],
        [],
    ]


def test_the_sampler_runs_beside_the_recorder_and_ends_with_it(new_recorder, heard, tmp_path):
    before = set(psutil.Process().children())
    settings = ProfilingConfig(resource_interval_s=0.05)
    recorder = new_recorder(settings=settings)
    with recorder:
        assert len(set(psutil.Process().children()) - before) == 1
        beside = new_recorder(settings=settings, place=RankPlace(rank=1, local_rank=1))
        with beside:
            assert len(set(psutil.Process().children()) - before) == 1
    assert set(psutil.Process().children()) - before == set()
    assert "resource_sampler_died" not in [event.name for event in heard.events]
    assert {"meta.json", "steps.rank0.jsonl", "steps.rank1.jsonl"} <= {
        path.name for path in (tmp_path / "facts").iterdir()
    }


KILLED = """
import sys, torch
from pathlib import Path
from torch import nn
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.settings import ProfilingConfig
run = RunRecord(run_id="train_x", started_at="", status="running")
model = nn.Sequential(nn.Linear(4, 4))
plan = RecordingPlan(settings=ProfilingConfig(budget_share=None))
with Recorder(facts_dir=Path(sys.argv[1]), run=run, plan=plan,
              device=torch.device("cpu")) as recorder:
    recorder.observe(model, {"a": ["0"]})
    step = 0
    while True:
        step += 1
        recorder.begin_step(step)
        with recorder.phase("forward"):
            model(torch.zeros(1, 4))
        recorder.end_step(micro_batches=1, samples=1)
        if step == 100:
            print("ready", flush=True)
"""


def test_kill_9_leaves_facts_that_parse(tmp_path, read_lines):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    steps = [line["step"] for line in read_lines(tmp_path / "steps.rank0.jsonl")]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 100 - MOST_TOGETHER
    kinds = [line["kind"] for line in read_lines(tmp_path / "spans.rank0.jsonl")]
    assert 0 <= len(steps) - kinds.count("stages") <= MOST_TOGETHER
    assert json.loads((tmp_path / "meta.json").read_text())["status"] == "running"
