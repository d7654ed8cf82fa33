"""Damaged logs, traces, facts, snapshots and configurations: a report or one line, in bounds.

`VRTSPIKE_FUZZ_CASES` says how many by `make stress` (20000); the first thousand belong to the quick
tests. A failing case is named by its kind and seed, which make it again.
"""

import os
import resource
import shutil
import signal
from pathlib import Path

import pytest

from tests.diagnostics.fuzz_inputs import KINDS, run_case

QUICK = {"trace": 400, "config": 250, "snapshot": 150, "log": 120, "facts": 80}
"""Quick cases of each kind: the fewer, the longer one takes."""

CASES = int(os.environ.get("VRTSPIKE_FUZZ_CASES", "20000")) // len(KINDS)
MAX_CPU_S = 10.0
MAX_MORE_BYTES = 1 << 30
"""Above what the process has taken before: numpy's and pandas' own memory lies in it."""


class TooLongError(Exception):
    """A case took longer than it may."""


class Watched:
    """Ends what takes too long, by the processor's time, or too much memory; names its case."""

    def __init__(self, case: str = "") -> None:
        self._case = case

    def __enter__(self) -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        self._limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (taken + MAX_MORE_BYTES, self._limits[1]))
        self._before = signal.signal(signal.SIGPROF, self._stop)
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_S)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)
        resource.setrlimit(resource.RLIMIT_AS, self._limits)
        if error is not None:
            error.add_note(f"case: {self._case}")

    @staticmethod
    def _stop(*_: object) -> None:
        raise TooLongError


def run_cases(kind: str, seeds: range, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        with Watched(f"{kind} {seed}"):
            run_case(kind, seed, place)
        said = capsys.readouterr()
        assert "Traceback" not in said.err, seed
        assert said.err.count("\n") <= 2, seed
        shutil.rmtree(place)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_thousand_damaged_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    run_cases(kind, range(QUICK[kind]), tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_many_damaged_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    run_cases(kind, range(QUICK[kind], CASES), tmp_path, capsys)


def take_forever() -> None:
    with Watched():
        while True:
            pass


def take_much() -> None:
    with Watched("much"):
        bytearray(2 * MAX_MORE_BYTES)


def test_the_watch_ends_what_takes_too_long_or_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "MAX_CPU_S", 0.05)
    with pytest.raises(TooLongError):
        take_forever()
    with pytest.raises(MemoryError) as ended:
        take_much()
    assert ended.value.__notes__ == ["case: much"]


def test_a_thousand_are_quick() -> None:
    assert sum(QUICK.values()) == 1000
    assert set(QUICK) == set(KINDS)
