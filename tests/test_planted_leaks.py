"""Leaks planted in real runs are named with their process, during the run and after it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from diagnostics.analyses.watch_course import WatchView
from diagnostics.analyses.watch_growth import Growing
from diagnostics.load import load_run
from diagnostics.memory_watch import follow
from diagnostics.report.build import build_report
from diagnostics.report.model import Report
from diagnostics.report.watch_terminal import PlainScreen
from diagnostics.watch_reading import WatchReader
from tests.leaking_training import PREFIX

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tests" / "leaking_training.py"
MB = 10**6

pytestmark = pytest.mark.slow


class Memory(PlainScreen):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__(lambda text: None)
        self.growing: list[tuple[Growing, ...]] = []

    def show(self, view: WatchView) -> None:
        self.growing.append(view.growing)


class Seen(NamedTuple):
    """A run that has ended: as it was watched, as its facts tell it, and its processes.

    `shown` is what grew in each view of it.
    """

    watched: WatchView
    shown: list[tuple[Growing, ...]]
    report: Report
    pids: dict[str, int]


@pytest.fixture
def run_leaking(tmp_path: Path) -> Iterator[object]:
    """A function that runs the program and watches it from its first loading process on."""
    made: list[subprocess.Popen[bytes]] = []

    def run(kind: str, steps: int, step_ms: float) -> Seen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(PROGRAM), kind, str(steps), str(step_ms), str(tmp_path)]
        process = subprocess.Popen(command, env=environment)
        made.append(process)
        told = tmp_path / "pids.txt"
        while process.poll() is None and not (told.exists() and "worker1" in told.read_text()):
            psutil.cpu_percent(0.05)  # waits
        reader = WatchReader(process.pid)
        screen = Memory()
        watched = follow(reader, screen, 0.25)
        assert process.wait(60) == 0
        report = build_report(load_run([], tmp_path / "profiles"))
        lines = [line.split() for line in told.read_text().splitlines()]
        return Seen(watched, screen.growing, report, {role: int(pid) for role, pid in lines})

    yield run
    for process in made:
        process.kill()
        process.wait()
    for left in Path("/dev/shm").glob(f"{PREFIX}-*"):
        left.unlink()


def codes(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


@pytest.mark.parametrize(("kind", "holder"), [("worker", "worker0"), ("main", "main")])
def test_a_megabyte_a_step_is_named_within_a_hundred_steps(run_leaking, kind, holder):
    seen = run_leaking(kind, 100, 110.0)
    (growing,) = seen.report.analysis.host_growth.growing
    assert growing.pid == seen.pids[holder]
    # Between kept arrays the C library's allocator keeps up to a fifth more of the process.
    assert 0.75 * MB <= growing.trend.slope <= 1.4 * MB
    assert "HM002" in codes(seen.report)
    named = [growing for growing in seen.shown if growing]
    assert {each.pid for growing in named for each in growing} == {seen.pids[holder]}


def test_files_left_in_shared_memory_are_named_with_who_writes_them(run_leaking):
    seen = run_leaking("shm", 100, 110.0)
    (growing,) = seen.report.analysis.host_growth.growing
    assert (growing.holder, growing.pid) == ("shared_memory", seen.pids["worker0"])
    assert growing.trend.slope == pytest.approx(MB, rel=0.25)
    shown = {(each.kind, each.pid) for growing in seen.shown for each in growing}
    assert shown == {("/dev/shm", seen.pids["worker0"])}


@pytest.mark.parametrize(("kind", "steps", "step_ms"), [("none", 2000, 10.0), ("warm-up", 400, 50)])
def test_a_healthy_run_has_no_leak(run_leaking, kind, steps, step_ms):
    seen = run_leaking(kind, steps, step_ms)
    assert seen.report.analysis.host_growth.growing == ()
    assert "HM002" not in codes(seen.report)
    assert seen.watched.growing == ()
    assert seen.watched.is_judged
    assert kind == "warm-up" or not any(seen.shown)
