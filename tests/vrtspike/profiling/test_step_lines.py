"""Lines come at their intervals, over untagged steps, and the log survives its outputs."""

import io
from pathlib import Path

import pytest

from vrtspike.profiling.memory import MemoryFigures, read_memory_figures
from vrtspike.profiling.recording import RankPlace
from vrtspike.profiling.records import (
    EventRecord,
    MemoryRecord,
    RunRecord,
    SpanRecord,
    StagesRecord,
    StepRecord,
)
from vrtspike.profiling.run_log import RunLog
from vrtspike.profiling.settings import LogConfig
from vrtspike.profiling.step_lines import Progress, StepLines
from vrtspike.profiling.step_window import StepWindow

OFTEN = LogConfig(
    step_every_steps=2,
    stage_every_steps=3,
    data_time_every_steps=4,
    memory_every_steps=5,
    progress_every_steps=4,
)


def step(number, ms=10.0, wait=1.0, tags=(), loss=0.5, **more):
    host = {"data_wait": wait, "forward": ms - wait, "other": 0.0, "step": ms}
    fields = {
        "step": number,
        "start_unix_s": 0.0,
        "micro_batches": 1,
        "samples": 2,
        "clock": "host",
        "host_ms": host,
        "tags": tags,
        "loss": loss,
        **more,
    }
    return StepRecord(**fields)


def stages(number, ms):
    calls = {"flow": 1}
    return [StagesRecord(step=number, phase="forward", clock="host", ms={"flow": ms}, calls=calls)]


def figures():
    return MemoryFigures(
        process_bytes=2**20,
        system_used_bytes=2**30,
        system_total_bytes=2**31,
        system_percent=50.0,
        pressure_percent=50.0,
    )


class LogText:
    """The log file's text, which holds the lines of the terminal and those for the tools."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def getvalue(self) -> str:
        return self.path.read_text("utf-8") if self.path.exists() else ""


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def log_text(tmp_path):
    return LogText(tmp_path / "run.log")


@pytest.fixture
def new_lines(log_text, clock):
    def make(**options):
        log = RunLog(log_text.path, io.StringIO())
        defaults = {"total_steps": 20, "read_memory": figures, "clock": clock}
        return StepLines(log, OFTEN, **{**defaults, **options})

    return make


def test_lines_come_at_their_intervals(new_lines, log_text):
    lines = new_lines(total_steps=None)
    for number in range(1, 8):
        lines.on_step(step(number), stages(number, 4.0))
    lines.close()
    kinds = [line.split(" | ")[0] for line in log_text.getvalue().splitlines()]
    memory = "[Step 5] Memory - Process: 1.0MB (0.0%), System: 1.0/2.0GB (50.0%)"
    assert [kind for kind in kinds if kind != memory] == [
        "step 2",
        "stages 3",
        "step 4",
        "Avg data time: 1.0ms",
        "step 6",
        "stages 6",
        "step 7",
        "stages 7",
    ]
    assert kinds.count(memory) == 1


def test_tagged_step_is_named_and_lines_for_tools_stay_off_the_terminal(tmp_path, clock):
    terminal = io.StringIO()
    log = RunLog(tmp_path / "run.log", terminal)
    lines = StepLines(log, OFTEN, total_steps=4, read_memory=figures, clock=clock)
    lines.on_step(step(1, tags=("first", "gc")), stages(1, 4.0))
    lines.close()
    text = (tmp_path / "run.log").read_text("utf-8")
    assert "[tags] step 1 | first,gc\n" in text
    assert "stages 1/4 | " in text
    assert "step 1/4 | " in terminal.getvalue()
    assert "stages" not in terminal.getvalue()
    assert "[tags]" not in terminal.getvalue()


def test_means_are_over_untagged_steps_and_all_ranks_samples_count(new_lines, log_text):
    lines = new_lines(place=RankPlace(world_size=4))
    lines.on_step(step(1, ms=1000.0, tags=("first",), loss=9.0), [])
    lines.on_step(step(2, ms=20.0, loss_terms={"charb": 0.25}, lr=1e-4), [])
    line = log_text.getvalue().splitlines()[1]
    assert line == (
        "step 2/20 | loss=0.5000 charb=0.2500 lr=1.00e-04 | 400.0 samples/s"
        " | data_time=1.0ms step_time=20.0ms"
    )
    lines.close()


def test_a_window_of_tagged_steps_only_is_still_told(new_lines, log_text):
    lines = new_lines()
    lines.on_step(step(1, ms=30.0, tags=("first",)), [])
    lines.on_step(step(2, ms=50.0, tags=("gc",)), [])
    assert "step_time=40.0ms" in log_text.getvalue()
    lines.close()


def test_a_loss_that_is_no_number_shows(new_lines, log_text):
    lines = new_lines(place=RankPlace(rank=1))
    memory = MemoryRecord(device_allocated_bytes=2**30)
    lines.on_step(step(2, loss=None, nonfinite={"loss": "nan"}, memory=memory), [])
    assert "| loss=nan | GPU1_mem=1.0GB |" in log_text.getvalue()
    lines.close()


def test_device_means_are_by_the_device_clock():
    window = StepWindow()
    for ms in (30.0, 50.0):
        window.add(step(1, device_ms={"forward": ms, "step": ms}, clock="device"), stages(1, ms))
    means = window.take()
    assert (means.clock, means.phases_ms["forward"], means.stages_ms) == (
        "device",
        40.0,
        {"flow": 40.0},
    )
    assert means.host_ms["step"] == 10.0
    assert window.take() is None


def test_stages_are_means_over_the_steps_that_had_them_timed():
    window = StepWindow()
    for number in range(1, 5):
        window.add(step(number), stages(number, 6.0) if number % 2 == 0 else [])
    means = window.take()
    assert (means.steps, means.stages_ms, means.host_ms["step"]) == (4, {"flow": 6.0}, 10.0)
    window.add(step(5), [])
    assert window.take().stages_ms == {}


def test_thinning_is_said_once(new_lines, log_text):
    lines = new_lines()
    found = {"every_steps": 2, "cost_share": 0.0123, "budget_share": 0.005}
    for number in (25, 50):
        lines.on_event(event("recording_thinned", number, {**found, "every_steps": number}))
        lines.on_event(event("recording_over_budget", number, found | {"every_steps": None}))
    lines.close()
    told = [line for line in log_text.getvalue().splitlines() if "[recorder]" in line]
    assert [line.partition("[recorder] ")[2] for line in told] == [
        "recording cost 1.23 % of a step, PROFILING.BUDGET_SHARE=0.005: stages are timed in one of "
        "25 steps from now on",
        "WARNING: recording costs 1.23 % of a step; PROFILING.BUDGET_SHARE=0.005",
    ]


def test_what_became_of_a_trace_is_said(new_lines, log_text):
    lines = new_lines()
    fits = {"steps": 3, "planned_steps": 8, "step_bytes": 300_000_000, "limit_bytes": 2**30}
    lines.on_event(event("profile_shortened", 5, fits))
    size = {"steps": "6-8", "plain_bytes": 2**31, "limit_bytes": 2**30, "export_ms": 412.3}
    lines.on_event(event("profile_written", 8, size))
    lines.on_event(event("profile_written", 8, size | {"limit_bytes": None}))
    lines.on_event(event("nvtx_missing", 0, {"reason": "why"}))
    lines.close()
    assert log_text.getvalue().splitlines() == [
        "[profile] 3 of 8 steps are kept: one is 286.1 MiB, the limit 1024.0 MiB",
        "[profile] steps 6-8 traced, 2048.0 MiB before compression, more than "
        "PROFILING.MAX_TRACE_MIB; the export took 412.3 ms",
        "[profile] steps 6-8 traced, 2048.0 MiB before compression; the export took 412.3 ms",
        "[profile] why",
    ]


def test_memory_that_runs_out_is_said_at_once(new_lines, log_text):
    lines = new_lines()
    values = {"free_bytes": 2**30, "limit_bytes": 4 * 2**30, "source": "the machine"}
    lines.on_event(event("memory_running_out", 5, values))
    assert log_text.getvalue().startswith("[memory] WARNING: 1.0 GiB left of 4.0 GiB (the machine)")
    lines.close()


def event(name, number, values):
    return EventRecord(name=name, step=number, at_unix_s=0.0, values=values)


def test_eta_comes_from_this_runs_own_steps(clock):
    progress = Progress(1000, 901, clock)
    clock.pass_ms(30_000)
    assert progress.line(910).endswith("91.0% | elapsed=0:00:30 | eta=0:04:30")
    assert Progress(None, 1, clock).line(3) is None


def test_spans_and_events_that_readers_look_for(new_lines, log_text):
    lines = new_lines()
    lines.on_span(SpanRecord(name="dataset_creation", step=0, start_unix_s=0.0, host_ms=5.0))
    lines.on_span(SpanRecord(name="validation", step=0, start_unix_s=0.0, host_ms=5.0))
    for name in ("gpus_absent", "profile_missing", "cache"):
        lines.on_event(EventRecord(name=name, step=0, at_unix_s=0.0, values={"reason": "why"}))
    lines.close()
    assert log_text.getvalue().splitlines() == [
        "[After dataset creation] Memory - Process: 1.0MB (0.0%), System: 1.0/2.0GB (50.0%)",
        "[resources] no NVIDIA GPU (why)",
        "[profile] why",
    ]


def test_a_terminal_has_a_bar_below_its_lines_and_a_file_has_none(tmp_path, stream, clock):
    path = tmp_path / "logs" / "train.log"
    log = RunLog(path, stream, bar=True)
    lines = StepLines(log, OFTEN, total_steps=4, read_memory=figures, clock=clock)
    for number in range(1, 5):
        clock.pass_ms(1000)
        lines.on_step(step(number), [])
    lines.close()
    log.close()
    text = path.read_text(encoding="utf-8")
    assert text.count("[progress]") == 1
    assert "[progress] 4/4 [####################] 100.0% | elapsed=0:00:04 | eta=0:00:00\n" in text
    assert "\x1b" not in text
    shown = stream.getvalue()
    assert shown.count("[progress] 1/4 ") == 2
    assert "\r\x1b[Kstep 2/4 | " in shown
    assert shown.endswith("\n")


def test_a_pipe_gets_the_file_s_lines(tmp_path, stream):
    path = tmp_path / "logs" / "train.log"
    log = RunLog(path, stream)
    run = RunRecord(run_id="train_x", started_at="", status="running", clock="host")
    log.begin(run, tmp_path / "profiles" / "train_x")
    log.line("⚠️  WARNING")
    log.progress("[progress] 1/2")
    log.bar("[progress] 1/2")
    log.close()
    expected = "[run] id=train_x schema=1 facts=../profiles/train_x clock=host\n"
    assert stream.getvalue() == expected + "⚠️  WARNING\n[progress] 1/2\n"
    assert path.read_text(encoding="utf-8") == stream.getvalue()


def test_lines_are_on_disk_before_the_log_is_closed(tmp_path, stream):
    log = RunLog(tmp_path / "train.log", stream)
    log.line("step 1")
    assert (tmp_path / "train.log").read_text() == "step 1\n"
    log.close()


def test_a_full_disk_and_a_closed_pipe_do_not_stop_the_log(caplog):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    log = RunLog(Path("/dev/full"), Closed())
    log.line("a")
    log.line("b")
    log.close()
    assert caplog.text.count("cannot write /dev/full any more") == 1
    stream = io.StringIO()
    RunLog(Path("/dev/null/x/train.log"), stream).line("a")
    assert stream.getvalue() == "a\n"


def test_a_stream_without_the_warning_sign_still_gets_the_line(tmp_path):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    RunLog(None, stream).line("⚠️  WARNING")
    assert raw.getvalue().endswith(b"  WARNING\n")


def test_figures_of_this_machine():
    import torch

    read = read_memory_figures(torch.device("cpu"))
    assert 0 < read.process_bytes < read.system_total_bytes
    assert read.pressure_percent >= read.system_percent
    assert read.device_allocated_bytes is None
