"""The trace's window counts the run's own steps, and its names are the recorder's."""

import gzip
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from vrtspike.profiling.kineto import TraceSession, plan_window, quiet_kineto
from vrtspike.profiling.settings import ProfilingConfig

PLAN = ProfilingConfig(wait=3, warmup=1, active=2, resources=False)


class FakeTracer:
    def __init__(self, calls, fails=False):
        self.calls, self.fails = calls, fails

    def prepare_trace(self):
        self.calls.append("prepare")

    def start_trace(self):
        self.calls.append("start")

    def stop_trace(self):
        self.calls.append("stop")

    def add_metadata(self, key, value):
        self.calls.append((key, value))

    def export_chrome_trace(self, path):
        if self.fails:
            raise OSError(28, "No space left on device")
        with open(path, "w") as file:  # noqa: PTH123
            json.dump({"traceEvents": []}, file)


@pytest.fixture
def session(tmp_path, clock):
    def make(first_step=1, active=None, **options):
        calls = []
        made = TraceSession(
            folder=tmp_path / "facts",
            worker_name="host_1",
            run_id="train_x",
            window=plan_window(first_step, PLAN, active),
            new_tracer=lambda: FakeTracer(calls, **options),
            clock=clock,
        )
        return made, calls

    return make


def run(session, steps):
    traced = []
    for step in steps:
        session.step_begins(step)
        if session.tracing:
            traced.append(step)
        session.step_ends(step)
    return traced


def test_the_window_starts_at_the_first_step_of_a_resumed_run(session):
    trace, calls = session(first_step=1001)
    assert run(trace, range(1001, 1021)) == [1004, 1005, 1006]
    trace.finish()
    assert trace.kept == (1005, 1006)
    assert trace.problem is None
    assert calls == ["prepare", "start", ("run_id", "train_x"), ("steps", "1005-1006"), "stop"]


def test_the_command_line_sets_the_number_of_kept_steps(session):
    trace, _ = session(active=5)
    assert run(trace, range(1, 21)) == [4, 5, 6, 7, 8, 9]
    trace.finish()
    assert trace.kept == (5, 9)


def test_a_run_that_ends_in_the_window_exports_what_it_has(session, tmp_path):
    trace, calls = session()
    run(trace, range(1, 6))
    trace.finish()
    assert trace.kept == (5, 5)
    assert ("steps", "5-5") in calls
    assert [p.name for p in (tmp_path / "facts").iterdir()] == [
        "host_1.1700000005000000000.pt.trace.json.gz"
    ]


@pytest.mark.parametrize(
    ("steps", "calls"), [(2, []), (4, ["prepare", "start", "stop"])], ids=["waiting", "warming up"]
)
def test_a_run_that_ends_before_the_window_says_so(session, tmp_path, steps, calls):
    trace, made = session()
    run(trace, range(1, steps + 1))
    trace.finish()
    assert trace.kept is None
    assert trace.problem == "no trace: the run ended before step 5, the first to be kept"
    assert made == calls
    assert not (tmp_path / "facts").exists()


def test_a_step_cut_short_is_not_kept(session):
    trace, _ = session()
    run(trace, range(1, 6))
    trace.step_begins(6)
    trace.finish()
    assert trace.kept == (5, 5)


def test_a_full_disk_costs_the_trace_only(session):
    trace, _ = session(fails=True)
    run(trace, range(1, 9))
    trace.finish()
    assert "No space left" in trace.problem


def test_a_recorded_trace_has_the_recorders_names_and_step_numbers(new_recorder, heard, tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with new_recorder(first_step=11, settings=PLAN, profile=True) as recorder:
        recorder.observe(model, {"vrt.stage1": ["0"], "flow": ["1"]})
        assert recorder.run.profiled_steps == (15, 16)
        for step in range(11, 20):
            recorder.begin_step(step)
            with recorder.phase("forward"):
                model(torch.zeros(1, 4))
            with recorder.phase("optimizer"):
                pass
            recorder.end_step(micro_batches=1, samples=1)
    tagged = [s.step for s in heard.steps if "profiled" in s.tags]
    assert tagged == [14, 15, 16]
    (path,) = (tmp_path / "facts").glob("*.pt.trace.json.gz")
    with gzip.open(path) as file:
        trace = json.load(file)
    names = [e["name"] for e in trace["traceEvents"] if e.get("cat") == "user_annotation"]
    assert sorted(names) == sorted(
        ["ProfilerStep#15", "ProfilerStep#16", *["forward", "optimizer", "vrt.stage1", "flow"] * 2]
    )
    assert (trace["steps"], trace["run_id"]) == ("15-16", "train_20260101_000000_abcd")
    meta = json.loads((tmp_path / "facts/meta.json").read_text())
    assert meta["profiled_steps"] == [15, 16]


@pytest.mark.parametrize(
    ("device", "before", "after"),
    [("cpu", {}, "99"), ("cpu", {"KINETO_LOG_LEVEL": "0"}, "0"), ("cuda", {}, None)],
)
def test_kineto_is_silenced_where_it_has_nothing_to_say(device, before, after):
    environment = dict(before)
    quiet_kineto(torch.device(device), environment)
    assert environment.get("KINETO_LOG_LEVEL") == after


TRACED = """
import torch
from vrtspike.profiling.kineto import torch_tracer
from vrtspike.profiling.settings import ProfilingConfig
tracer = torch_tracer(ProfilingConfig(), torch.device("cpu"))
tracer.prepare_trace()
tracer.start_trace()
tracer.stop_trace()
"""


def test_a_real_trace_says_nothing_on_standard_error():
    free = {name: value for name, value in os.environ.items() if name != "KINETO_LOG_LEVEL"}
    command = [sys.executable, "-c", TRACED]
    done = subprocess.run(command, env=free, capture_output=True, text=True, check=True)
    assert "profiler_start" not in done.stderr


def test_the_tensorboard_plugin_knows_the_file_name(session, tmp_path):
    from torch_tb_profiler.consts import WORKER_PATTERN

    trace, _ = session()
    run(trace, range(1, 9))
    trace.finish()
    (path,) = (tmp_path / "facts").iterdir()
    assert WORKER_PATTERN.match(path.name).group(1) == "host_1"
