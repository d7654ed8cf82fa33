"""Watching a training: what is read, when it ends, what is shown in place and in a pipe."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagnostics.analyses.watch_course import WatchCourse, WatchView
from diagnostics.errors import DiagnosticsError
from diagnostics.language import speaking
from diagnostics.memory_command_line import make_parser, parse_arguments
from diagnostics.memory_watch import follow
from diagnostics.parsers.disk_counters import read_disk_counters
from diagnostics.parsers.process_readings import read_process
from diagnostics.report.html_memory import render_html
from diagnostics.report.memory_build import build_memory_report
from diagnostics.report.memory_json import to_json
from diagnostics.report.memory_terminal import render_terminal
from diagnostics.report.sparks import bars_for, spark
from diagnostics.report.watch_terminal import LiveScreen, PlainScreen, frame
from diagnostics.watch_reading import WatchClocks, WatchReader
from diagnostics.watched import Moment, Subject
from tests.diagnostics.memory.moments import MIB, course
from tests.diagnostics.memory.test_machine import MEMINFO, put, sources
from tests.diagnostics.memory.test_machine_gpus import FakeNvml, NvmlError
from tests.diagnostics.memory.test_memory_report import NO_RUN, view

PAGE = 4096


class FakeTraining:
    """A trainer (10) with a loader process (11) in a /proc tree; time passes when it is waited."""

    def __init__(self, root: Path) -> None:
        self.root, self.now_s = root, 100.0
        put(root, {"proc/meminfo": MEMINFO, "proc/self/x": ""})
        self.process(10, 1, "python\0-m\0vrtspike.train\0", pages=900)
        self.process(11, 10, "python\0-m\0vrtspike.train\0", pages=500, name="pt_data_worker")

    def process(
        self, pid: int, parent: int, command: str, pages: int, name: str = "python", born: int = 7
    ) -> None:
        fields = " ".join(["S", str(parent), *["0"] * 17, str(born)])
        put(
            self.root,
            {
                f"proc/{pid}/stat": f"{pid} ({name}) {fields}",
                f"proc/{pid}/statm": f"{pages + 300} {pages} 100 0 0 0 0",
                f"proc/{pid}/cmdline": command,
                f"proc/{pid}/io": "rchar: 5\nwchar: 77\n",
                f"proc/{pid}/environ": "RANK=0\0",
            },
        )

    def end(self, pid: int) -> None:
        for file in (self.root / "proc" / str(pid)).iterdir():
            file.unlink()

    def reader(self, **changes: Any) -> WatchReader:
        clocks = WatchClocks(
            steady_s=lambda: self.now_s, unix_s=lambda: 1e9 + self.now_s, cpu_s=lambda: 0.5
        )
        given: dict[str, Any] = {"nvml": FakeNvml(), "clocks": clocks}
        return WatchReader(sources=sources(self.root), **(given | changes))


@pytest.fixture
def training(tmp_path: Path) -> FakeTraining:
    return FakeTraining(tmp_path)


def test_a_moment_holds_each_process_with_its_role(training: FakeTraining) -> None:
    moment = training.reader().read()
    assert [(each.pid, each.role, each.rank) for each in moment.processes] == [
        (10, "main", 0),
        (11, "worker", 0),
    ]
    worker = moment.processes[1]
    assert (worker.own_bytes, worker.shared_bytes) == (400 * PAGE, 100 * PAGE)
    assert worker.written_bytes == 77
    assert [gpu.util_percent for gpu in moment.gpus] == [37.0]
    assert (moment.at_s, moment.own_cpu_s) == (100.0, 0.5)


def test_new_processes_are_found_and_a_number_given_anew_is_not_taken_for_the_old_one(
    training: FakeTraining,
) -> None:
    reader = training.reader()
    reader.read()
    training.process(12, 10, "python\0-m\0vrtspike.train\0", 100, "pt_data_worker")
    training.process(11, 1, "cat\0", 5, "cat", born=99)
    training.now_s += 1
    assert [each.pid for each in reader.read().processes] == [10]
    training.now_s += 5
    assert [each.pid for each in reader.read().processes] == [10, 12]


def test_without_a_training_there_is_nothing_to_watch(training: FakeTraining) -> None:
    with pytest.raises(DiagnosticsError, match="--pid 999: no such process"):
        training.reader(pid=999)
    assert [each.pid for each in training.reader(pid=11).read().processes] == [10, 11]
    training.end(10)
    training.end(11)
    with pytest.raises(DiagnosticsError, match="no training runs on this machine"):
        training.reader()


def test_any_program_can_be_watched_by_its_number(training: FakeTraining) -> None:
    training.process(30, 1, "python\0own_loop.py\0", 100)
    training.process(31, 30, "python\0own_loop.py\0", 100)
    found = training.reader(pid=30).read().processes
    assert [(each.pid, each.role) for each in found] == [(30, "main"), (31, "other")]


def test_a_reading_that_is_cut_or_of_a_zombie_is_none(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/x": "",
            "proc/5/stat": "5 (python) Z " + "1 " * 30,
            "proc/5/statm": "9 9 9",
            "proc/6/stat": "6 (python",
            "proc/6/statm": "9 9 9",
            "proc/7/stat": "7 (a) b) S " + "1 " * 30,
            "proc/7/statm": "9 x 9",
        },
    )
    assert [read_process(pid, tmp_path) for pid in (5, 6, 7, 8)] == [None] * 4


def test_partitions_and_stacked_devices_count_once(tmp_path: Path) -> None:
    rows = ["8 0 sda 9 9 100 9 9 9 50 9", "8 1 sda1 9 9 100 9 9 9 50 9", "7 0 loop0 9 9 8 9 9 9 8"]
    for name in ("sda", "loop0", "dm-0"):
        (tmp_path / "sys/block" / name).mkdir(parents=True)
    put(tmp_path, {"proc/diskstats": "\n".join([*rows, "253 0 dm-0 1 1 100 1 1 1 50 1", "odd"])})
    assert read_disk_counters(tmp_path) == (100 * 512, 50 * 512)
    put(tmp_path, {"proc/diskstats": "odd\n"})
    assert read_disk_counters(tmp_path) is None


class Shown(PlainScreen):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__(lambda text: None)
        self.views: list[WatchView] = []

    def show(self, view: WatchView) -> None:
        self.views.append(view)


def test_it_reads_on_an_even_grid_until_the_training_ends(training: FakeTraining) -> None:
    screen, waited = Shown(), []

    def sleep(seconds: float) -> None:
        waited.append(round(seconds, 6))
        training.now_s += seconds + 0.25  # each reading takes a while
        if len(waited) == 3:
            training.end(10)

    last = follow(training.reader(), screen, 2.0, sleep)
    assert waited == [2.0, 1.75, 1.75]
    assert [len(each.at_s) for each in screen.views] == [1, 2, 3]
    assert last.has_ended
    assert len(last.at_s) == 3


def test_ctrl_c_ends_it_with_what_was_seen(training: FakeTraining) -> None:
    def sleep(seconds: float) -> None:
        training.now_s += seconds
        if training.now_s >= 106:
            raise KeyboardInterrupt

    last = follow(training.reader(), Shown(), 2.0, sleep)
    assert not last.has_ended
    assert len(last.at_s) == 3


def test_a_driver_is_let_go_of(training: FakeTraining) -> None:
    nvml = FakeNvml()
    reader = training.reader(nvml=nvml)
    assert nvml.is_open
    reader.close()
    assert not nvml.is_open
    absent = training.reader(nvml=FakeNvml(failures={"init": NvmlError(12)}))
    assert absent.read().gpus == ()


def watched(seconds: int = 100, leak: float = 1.0) -> WatchView:
    made = WatchCourse()
    for moment in course(seconds, {11: lambda at: leak * at}):
        made.add(moment)
    return made.view()


def text_of(view: WatchView, width: int, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    screen = LiveScreen(stream, width, color=False)
    screen._console.print(*frame(view, screen._console.width, screen._bars), sep="\n")
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_frame_fits_and_names_who_grows(width: int, language: str) -> None:
    with speaking(language):
        text = text_of(watched(), width)
    assert "11" in text
    assert ("loader process 11 grows by" in " ".join(text.split())) == (language == "en")
    assert "MiB/s" in text
    assert "▁" in text


def test_a_terminal_without_bars_gets_plain_characters() -> None:
    text = text_of(watched(), 100, "ascii")
    assert "#" in text
    assert bars_for(None) == bars_for("ascii") != bars_for("utf-8")


def test_a_spark_draws_the_largest_of_each_stretch() -> None:
    at, values = np.arange(8.0), np.array([0.0, 7, 0, 0, np.nan, np.nan, 3.5, 0])
    assert spark(at, values, 4, (0.0, 7.0), "01234567") == "70 4"
    assert spark(at, values, 99, (0.0, 7.0), "01234567") == "0700  40"
    assert spark(at, np.full(8, np.nan), 4, (0.0, 7.0)) == "    "
    assert spark(at[:1], values[:1], 4, (0.0, 0.0), "01") == "0"


def test_a_pipe_gets_a_line_each_time() -> None:
    lines: list[str] = []
    with PlainScreen(lines.append) as screen:
        screen.show(watched(3, 0.0))
        screen.show(watched())
    assert all("\n" not in line and "\x1b" not in line for line in lines)
    assert "GPU 0, busy 80 %" in lines[0]
    assert "disks, read 3.00 MiB/s" in lines[0]
    assert "grows" not in lines[0]
    assert "| loader process 11 grows by 1" in lines[1]


def report_of(made: WatchView) -> Any:
    return build_memory_report(view(), NO_RUN, None, made)


def text_of_report(made: WatchView) -> str:
    stream = io.StringIO()
    render_terminal(report_of(made), stream, 100)
    return " ".join(stream.getvalue().split())


def test_the_last_report_holds_what_was_watched() -> None:
    made = report_of(watched())
    text = text_of_report(watched())
    assert "Watched for 0:01:39" in text
    assert "HM106" in text
    (finding,) = (each for each in made.findings if each.rule == "HM106")
    assert finding.summary.startswith("loader process 11 grows steadily by 1.")
    assert "__getitem__" in finding.advice[0].text
    assert "loader process 11 grows by" in render_html(made)
    body = json.loads(to_json(made))["watched"]
    assert body["growing"][0]["pid"] == 11
    assert {len(each["values"]) for each in body["courses"]} == {100}


def test_without_growth_there_is_no_finding() -> None:
    made = report_of(watched(leak=0.0))
    assert not [each for each in made.findings if each.rule == "HM106"]
    assert json.loads(to_json(build_memory_report(view(), NO_RUN, None)))["watched"] is None


def test_a_fast_leak_is_critical() -> None:
    (finding,) = (each for each in report_of(watched(leak=20.0)).findings if each.rule == "HM106")
    assert finding.severity.label == "critical"
    assert finding.cost_bytes is not None
    assert finding.cost_bytes > 1000 * MIB


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    def refuse(*arguments: str) -> str:
        with pytest.raises(SystemExit) as left:
            parse_arguments(make_parser("x"), arguments)
        assert left.value.code == 2
        return capsys.readouterr().err

    return refuse


def test_the_arguments(refused: Any) -> None:
    options = parse_arguments(make_parser("x"), ["--watch", "--interval", "0.5"])
    assert (options.watch, options.interval) == (True, 0.5)
    assert "needs 0.2 to 3600 seconds" in refused("--watch", "--interval", "0.01")
    assert "give one of them" in refused("--watch", "--config", "x.yaml")


def test_plain_lines_in_chinese_keep_their_figures() -> None:
    with speaking("zh"):
        lines: list[str] = []
        PlainScreen(lines.append).show(watched())
    assert "加载进程 11" in lines[0]


def test_memory_of_the_training_on_a_gpu_is_read_by_process(training: FakeTraining) -> None:
    class Busy(FakeNvml):
        def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any:  # noqa: N802
            pids = {10: 3 * MIB, 11: None, 77: 5 * MIB}
            return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in pids.items()]

    (gpu,) = training.reader(nvml=Busy()).read().gpus
    assert gpu.by_pid == {10: 3 * MIB}


@pytest.mark.parametrize(
    ("by_pid", "holder"),
    [({10: 1}, "The memory of training process 10 on GPU 0"), ({}, "Memory in use on GPU 0")],
)
def test_growth_on_a_gpu_is_a_finding(by_pid: dict[int, int], holder: str) -> None:
    made = WatchCourse()
    for moment in course(100):
        used = (1024 + int(moment.at_s)) * MIB
        gpu = replace(moment.gpus[0], used_bytes=used, by_pid=dict.fromkeys(by_pid, used))
        made.add(replace(moment, gpus=(gpu,)))
    (finding,) = (e for e in report_of(made.view()).findings if e.rule == "HM106")
    assert finding.summary.startswith(holder)
    assert "loss.detach()" in finding.advice[0].text
    lines: list[str] = []
    PlainScreen(lines.append).show(made.view())
    assert "on GPU 0 grows by 1.00 MiB/s" in lines[0]


class Scripted:
    """A reader of made-up moments, on whose clock no time passes between two readings."""

    subject = Subject(pids=(10,))

    def __init__(self, *_: Any) -> None:
        self.moments = [*course(3), Moment(at_s=3.0, unix_s=0.0)]
        self.at_s, self.is_closed = 0.0, False

    def steady_s(self) -> float:
        return self.at_s + 0.2 - 1e-9

    def read(self) -> Moment:
        moment = self.moments.pop(0)
        self.at_s = moment.at_s
        return moment

    def close(self) -> None:
        self.is_closed = True


def test_json_alone_goes_to_standard_output(new_tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagnostics.memory_watch.WatchReader", Scripted)
    tool = new_tool("diagnose_memory.py")
    code, out, err = tool("--watch", "--interval", "0.2", "--json", "-")
    assert code == 0
    assert json.loads(out)["watched"]["has_ended"] is True
    assert err.count("\n") == 3
    code, out, err = tool("--watch", "--interval", "0.2")
    assert (code, err) == (0, "")
    assert out.count("GPU 0, busy 80 %") == 3
    assert "The training has ended." in out
