"""The trace's window counts the run's own steps, and its names are the recorder's."""

import gzip
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from vrtspike.profiling import kineto, tracing
from vrtspike.profiling.kineto import (
    TraceFiles,
    TraceSession,
    plan_schedule,
    quiet_kineto,
)
from vrtspike.profiling.settings import ProfilingConfig

PLAN = ProfilingConfig(
    wait=3, warmup=1, active=2, resources=False, max_trace_mib=None, budget_share=None
)


class FakeTracer:
    """`size` is what an exported trace takes."""

    def __init__(self, calls, fails=False, size=20):
        self.calls, self.fails, self.size = calls, fails, size

    def prepare_trace(self):
        self.calls.append("prepare")

    def start_trace(self):
        self.calls.append("start")

    def stop_trace(self):
        self.calls.append("stop")

    def add_metadata(self, key, value):
        self.calls.append((key, value))

    def export_chrome_trace(self, path):
        if self.fails == "in silence":
            return
        if self.fails:
            raise OSError(28, "No space left on device")
        with open(path, "w") as file:  # noqa: PTH123
            file.write('{"traceEvents": []}'.ljust(self.size))


class Host:
    """What a session asks of its recorder."""

    def __init__(self, folder):
        self.facts_dir = folder
        self.tags, self.events = [], []

    def tag(self, tag):
        self.tags.append(tag)

    def event(self, name, **values):
        self.events.append((name, values))

    @property
    def problem(self):
        """Why there is no trace."""
        said = [values["reason"] for name, values in self.events if name == "profile_missing"]
        assert len(said) <= 1
        return said[0] if said else None


@pytest.fixture
def session(tmp_path, clock):
    def make(first_step=1, active=None, settings=PLAN, **options):
        calls = []
        made = TraceSession(
            TraceFiles(folder=tmp_path / "facts", worker_name="host_1", run_id="train_x"),
            plan_schedule(settings, active),
            first_step=first_step,
            new_tracer=lambda: FakeTracer(calls, **options),
            clock=clock,
            host=Host(tmp_path / "facts"),
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
    assert trace._host.problem is None
    assert calls == ["prepare", "start", ("run_id", "train_x"), ("steps", "1005-1006"), "stop"]


class TracerOf211(FakeTracer):
    """PyTorch 2.10 to 2.12 give this warning with every profiler; `also` is another one."""

    also = None

    def prepare_trace(self):
        warnings.warn(
            "Warning: Profiler clears events at the end of each cycle.Only events from the current "
            "cycle will be reported.To keep events across cycles, set acc_events=True.",
            stacklevel=2,
        )
        if self.also:
            warnings.warn(self.also, stacklevel=2)


def test_a_warning_of_cycles_that_a_trace_does_not_have_is_kept_from_the_terminal(session):
    trace, calls = session()
    trace._new_tracer = lambda: TracerOf211(calls)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(trace, range(1, 5)) == [4]


def test_other_warnings_of_the_profiler_reach_the_terminal(session, monkeypatch):
    monkeypatch.setattr(TracerOf211, "also", "CUPTI cannot be had")
    trace, calls = session()
    trace._new_tracer = lambda: TracerOf211(calls)
    with pytest.warns(UserWarning, match="CUPTI cannot be had"):
        run(trace, range(1, 5))


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
    assert trace._host.problem == "no trace: the run ended before step 5, the first to be kept"
    assert made == calls
    assert not (tmp_path / "facts").exists()


def slowed(trace, steps):
    """The steps that are tagged."""
    found = []
    for step in steps:
        trace._host.tags.clear()
        trace.step_begins(step)
        trace.step_ends(step)
        found += [step] * len(trace._host.tags)
    return found


def test_windows_repeat(session, tmp_path, clock):
    trace, calls = session(settings=replace(PLAN, repeat=2))
    for step in range(1, 21):
        clock.pass_ms(1)
        run(trace, [step])
    trace.finish()
    assert [call for call in calls if call[0] == "steps"] == [("steps", "5-6"), ("steps", "11-12")]
    assert calls.count("prepare") == calls.count("stop") == 2
    assert trace.kept == (5, 12)
    assert len(list((tmp_path / "facts").glob("*.pt.trace.json.gz"))) == 2
    assert trace._host.problem is None


def test_a_run_that_ends_between_two_windows_has_its_trace(session):
    trace, _ = session(settings=replace(PLAN, repeat=3))
    run(trace, range(1, 9))
    trace.finish()
    assert trace.kept == (5, 6)
    assert trace._host.problem is None


LIMITED = replace(PLAN, warmup=2, active=8, max_trace_mib=1)


def test_as_many_steps_are_kept_as_fit(session, tmp_path):
    trace, calls = session(settings=LIMITED, size=300_000)
    assert slowed(trace, range(1, 20))[:5] == [4, 5, 6, 7, 8]
    trace.finish()
    assert trace.kept == (6, 8)  # 1 MiB holds three steps of 300 kB
    shortened = {"steps": 3, "planned_steps": 8, "step_bytes": 300_000, "limit_bytes": 2**20}
    assert trace._host.events[0] == ("profile_shortened", shortened)
    assert calls[:6] == ["prepare", "start", "stop", "prepare", "start", ("run_id", "train_x")]
    written = trace._host.events[1][1]
    assert (written["steps"], written["plain_bytes"]) == ("6-8", 300_000)
    assert [path.name for path in (tmp_path / "facts").iterdir()] == [written["file"]]


def test_one_step_is_kept_however_large(session):
    trace, _ = session(settings=LIMITED, size=3_000_000)
    run(trace, range(1, 20))
    trace.finish()
    assert trace.kept == (6, 6)


def test_a_trace_that_fits_is_kept_whole(session):
    trace, _ = session(settings=LIMITED, size=1000)
    run(trace, range(1, 20))
    trace.finish()
    assert trace.kept == (6, 13)
    assert [name for name, _ in trace._host.events] == ["profile_written"]


def test_a_run_that_ends_while_the_size_is_probed_says_so(session):
    trace, calls = session(settings=LIMITED)
    run(trace, range(1, 5))
    trace.step_begins(5)
    trace.finish()
    assert trace._host.problem == "no trace: the run ended before step 6, the first to be kept"
    assert calls == ["prepare", "start", "stop"]


class Compressing:
    """A compression that ends when told."""

    def __init__(self, *arguments):
        self.running = True

    def join(self):
        return None


def test_steps_that_the_compression_slows_down_are_tagged(session, monkeypatch):
    made = []
    monkeypatch.setattr(kineto, "Compression", lambda *a: made.append(Compressing(*a)) or made[-1])
    trace, _ = session()
    assert slowed(trace, range(1, 10)) == [4, 5, 6, 7, 8, 9]
    made[0].running = False
    assert slowed(trace, range(10, 12)) == []


def test_the_export_belongs_to_a_tagged_step(new_recorder, clock, heard, monkeypatch):
    """What blocks the training at the end of the last traced step enters no mean."""

    class SlowTracer(FakeTracer):
        def prepare_trace(self):
            clock.pass_ms(300)

        def export_chrome_trace(self, path):
            clock.pass_ms(2000)
            super().export_chrome_trace(path)

    monkeypatch.setattr(tracing, "torch_tracer", lambda settings, device: SlowTracer([]))
    monkeypatch.setattr(kineto, "Compression", Compressing)
    with new_recorder(settings=PLAN, profile=True) as recorder:
        for step in range(1, 8):
            recorder.begin_step(step)
            with recorder.phase("forward"):
                clock.pass_ms(10)
            recorder.end_step(micro_batches=1, samples=1)
    tagged = {step.step: step.host_ms["step"] for step in heard.steps if "profiled" in step.tags}
    assert tagged == {4: 310, 5: 10, 6: 2010, 7: 10}
    assert {step.host_ms["step"] for step in heard.steps if not step.tags} == {10}
    costs = {step.step: step.recorder_ms for step in heard.steps}
    assert (costs[3], costs[4], costs[6]) == (0, 300, 2000)


def test_a_step_cut_short_is_not_kept(session):
    trace, _ = session()
    run(trace, range(1, 6))
    trace.step_begins(6)
    trace.finish()
    assert trace.kept == (5, 5)


@pytest.mark.parametrize(
    ("fails", "words"), [(True, "No space left"), ("in silence", "says of a disk that is full")]
)
def test_a_full_disk_costs_the_trace_only(session, fails, words):
    trace, _ = session(fails=fails)
    run(trace, range(1, 9))
    trace.finish()
    assert words in trace._host.problem


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
    assert tagged[:3] == [14, 15, 16]  # and those that ran while the trace was compressed
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
