"""The trace's window counts the run's own steps, and its names are the recorder's."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from vrtspike.profiling import kineto, tracing
from vrtspike.profiling.kineto import (
    TraceFiles,
    TraceSession,
    plan_schedule,
    quiet_kineto,
    torch_tracer,
)
from vrtspike.profiling.ranges import BothRanges, NvtxRanges, TraceRanges
from vrtspike.profiling.recording import RankPlace
from vrtspike.profiling.settings import ProfilingConfig
from vrtspike.yaml_settings import compose, read_dataclass

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


@pytest.mark.parametrize(("ranks", "traced"), [("all", [0, 1, 2]), ((0, 2), [0, 2]), ((5,), [])])
def test_any_subset_of_ranks_is_traced(new_recorder, tmp_path, heard, ranks, traced):
    settings = replace(PLAN, wait=0, warmup=0, active=1, ranks=ranks)
    for rank in range(3):
        place = RankPlace(rank=rank, local_rank=rank, world_size=3)
        with new_recorder(settings=settings, profile=True, place=place) as recorder:
            recorder.begin_step(1)
            recorder.end_step(micro_batches=1, samples=1)
    names = sorted(path.name for path in (tmp_path / "facts").glob("*.pt.trace.json.gz"))
    assert [name.partition(".")[0].rpartition("_")[2] for name in names] == [
        f"rank{rank}" for rank in traced
    ]
    said = [e.values["reason"] for e in heard.events if e.name == "profile_missing"]
    assert said == (["no trace of rank 5: the run has 3 rank(s)"] if ranks == (5,) else [])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ranks": ()}, "ranks: must be all or a list of ranks"),
        ({"ranks": (-1,)}, "ranks: must be all or a list of ranks"),
        ({"repeat": 0}, "repeat: must be at least 1"),
        ({"max_trace_mib": 0}, "max_trace_mib: must be null or at least 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ProfilingConfig(**wrong)


@pytest.mark.parametrize(("text", "ranks"), [("all", "all"), ("[0, 3]", (0, 3))])
def test_ranks_are_written_as_a_word_or_a_list(text, ranks):
    node = compose(f"RANKS: {text}", "config.yaml")
    assert read_dataclass(node, ProfilingConfig, "config.yaml").ranks == ranks


def test_modules_of_an_eager_model_are_recorded_with_stacks_only():
    """What `with_modules` is documented to do; a test that fails when PyTorch learns more."""
    model = nn.Sequential(nn.Linear(4, 4))
    texts = []
    for options in ({"with_modules": True}, {"with_stack": True}):
        tracer = torch_tracer(replace(PLAN, **options), torch.device("cpu"))
        tracer.prepare_trace()
        tracer.start_trace()
        model(torch.zeros(1, 4))
        tracer.stop_trace()
        with tempfile.NamedTemporaryFile() as file:
            tracer.export_chrome_trace(file.name)
            texts.append(Path(file.name).read_text())
    by_modules, by_stacks = texts
    assert "Module Hierarchy" not in by_modules
    assert "nn.Module: Linear_0" in by_stacks


class FakeNvtx:
    def __init__(self):
        self.log, self.open = [], {}

    def range_start(self, msg):
        self.log.append(f"+{msg}")
        self.open[len(self.log)] = msg
        return len(self.log)

    def range_end(self, range_id):
        self.log.append(f"-{self.open.pop(range_id)}")


@pytest.fixture
def nvtx(monkeypatch):
    fake = FakeNvtx()
    monkeypatch.setattr(torch.cuda, "nvtx", fake)
    return fake


def test_nvtx_has_the_names_of_phases_and_stages_in_every_step(new_recorder, device, nvtx, heard):
    model = nn.Sequential(nn.Linear(4, 4))
    settings = replace(PLAN, nvtx=True)
    plan = {"settings": settings, "device": torch.device("cuda"), "timer": device.timer()}
    with new_recorder(**plan) as recorder:
        recorder.observe(model, {"vrt.stage1": ["0"]})
        for step in (1, 2):
            recorder.begin_step(step)
            with recorder.phase("forward"), torch.no_grad():
                model(torch.zeros(1, 4))
            recorder.end_step(micro_batches=1, samples=1)
    step = ["+forward", "+vrt.stage1", "-vrt.stage1", "-forward"]
    assert nvtx.log == step * 2
    assert "nvtx_missing" not in [event.name for event in heard.events]


def test_ranges_need_not_nest_and_two_takers_get_the_same(nvtx):
    trace = TraceRanges()
    both = BothRanges(trace, NvtxRanges())
    first, second = both.open("a"), both.open("b")
    both.close(first)
    both.close(second)
    both.close(None)
    assert nvtx.log == ["+a", "+b", "-a", "-b"]


def test_nvtx_without_cuda_is_said_once(new_recorder, heard, nvtx):
    with new_recorder(settings=replace(PLAN, nvtx=True)) as recorder:
        for step in (1, 2):
            recorder.begin_step(step)
            with recorder.phase("forward"):
                pass
            recorder.end_step(micro_batches=1, samples=1)
    said = [event.values["reason"] for event in heard.events if event.name == "nvtx_missing"]
    assert said == ["PROFILING.NVTX needs a CUDA device"]
    assert nvtx.log == []


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
    assert "No space left" in trace._host.problem


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
