"""What is watched: a training, another process, a run that is over; and what grew so far."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diagnostics.memory_watch import follow
from diagnostics.report.watch_terminal import PlainScreen
from diagnostics.watched import Subject
from tests.diagnostics.factories import make_run, write_facts
from tests.diagnostics.memory.moments import MIB
from tests.diagnostics.memory.test_watch import FakeTraining, text_of_report, watched


@pytest.fixture
def training(tmp_path: Path) -> FakeTraining:
    return FakeTraining(tmp_path)


def test_a_process_that_is_no_training_is_watched_and_told(training: FakeTraining) -> None:
    training.process(30, 1, "sleep\0", 100, name="sleep")
    reader, lines = training.reader(pid=30), list[str]()

    def sleep(seconds: float) -> None:
        training.now_s += seconds
        if training.now_s >= 106:
            training.end(30)

    last = follow(reader, PlainScreen(lines.append), 2.0, sleep)
    assert lines[0].startswith("No training is known to run in process 30 (sleep)")
    assert len([each for each in lines if "No training" in each]) == 1
    assert last.has_ended
    text = text_of_report(last)
    assert "No training is known to run in process 30 (sleep)" in text
    assert "Process 30 (sleep) has ended." in text
    assert reader.subject.is_training is False
    assert training.reader(pid=11).subject == Subject(pids=(10,))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("finished", "this run is over (finished); nothing to watch"),
        ("running", "its process is not on this machine (any more)"),
    ],
)
def test_a_run_that_is_over_is_told_in_a_line_and_reported(
    new_tool: Any, tmp_path: Path, status: str, said: str
) -> None:
    made = replace(make_run(8), meta={"status": status, "host": "elsewhere", "pid": 1})
    folder = write_facts(tmp_path / "run", made)
    code, out, err = new_tool("diagnose_memory.py")(folder, "--watch")
    assert (code, err) == (0, "")
    assert said in out.splitlines()[0]
    assert "Memory of this machine" in out


def test_what_grew_so_far_is_of_all_that_was_watched() -> None:
    (growing,) = watched(1000, 1.0).growing
    assert growing.rise_bytes == pytest.approx(999 * MIB, rel=0.02)
    assert growing.trend.rise < 0.82 * 999 * MIB
    lines: list[str] = []
    PlainScreen(lines.append).show(watched(1000, 1.0))
    assert f"by {growing.rise_bytes / MIB:.0f} MiB so far" in lines[0]
