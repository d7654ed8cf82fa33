"""Five hundred kills of ranks and loading processes: no wrong sample, nothing left, no hang.

`VRTSPIKE_KILL_CASES` says how many (500); the first ones belong to the quick tests. One in ten is a
whole training, `python -m vrtspike.train` with one rank or two.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vrtspike.conftest import tiny_config
from tests.vrtspike.stress import kill_training, laws
from tests.vrtspike.stress.kill_server import ALONE, BUDGET_BYTES, DIED, RANKS

HERE = Path(__file__).resolve().parent
CASES = int(os.environ.get("VRTSPIKE_KILL_CASES", "500"))
TRAININGS = range(0, CASES, 10)
QUICK = 6
KILLED = -9


class Server:
    """The process that forks the cases, one after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "kill_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(laws.ROOT)},
        )
        assert self._line() == "ready"
        self.tally: Counter[str] = Counter()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, request: dict) -> dict:
        """One case."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()
    if (path := os.environ.get("VRTSPIKE_KILL_FIGURES")) is not None:
        Path(path).write_text(json.dumps(found.tally, indent=1))


def settings(tree: Path, folder: Path | None) -> dict:
    config = tiny_config(str(tree))
    config["DATA"] |= {
        "USE_RAM_CACHE": True,
        "CACHE_SIZE_GB": BUDGET_BYTES / 2**30,
        "CACHE_DIR": None if folder is None else str(folder),
    }
    config["DATALOADER"] = {"TOTAL_WORKERS": 4, "PERSISTENT_WORKERS": True}
    return config


def numbered(cases, quick):
    return [
        pytest.param(each, marks=() if place < quick else pytest.mark.slow)
        for place, each in enumerate(cases)
    ]


@pytest.mark.parametrize(
    "case", numbered([each for each in range(CASES) if each not in TRAININGS], QUICK)
)
def test_who_is_killed_leaves_a_whole_cache_and_nothing_else(server, tmp_path, tiny_tree, case):
    folder = tmp_path if case % 4 == 3 else None
    request = {
        "case": case,
        "config": settings(tiny_tree, folder),
        "folder": None if folder is None else str(folder),
        "epochs": 16,
        "within_s": 0.4,
    }
    found = server.run(request)
    server.tally.update(
        {
            "cases": 1,
            found.get("killed", "?").partition(" of ")[0]: 1,
            "samples_compared": found.get("served", 0),
            "entries_compared": found.get("entries", 0) + found.get("kept", 0),
            "wrong": found.get("wrong", 0),
        }
    )
    assert "error" not in found, found["error"]
    assert found["left"] == []
    assert found["shm"] == []
    assert found["files"] == []
    assert found.get("holders", []) == []
    assert found.get("wrong", 0) == 0
    assert found.get("bytes", 0) <= BUDGET_BYTES
    codes, said = found["codes"], found["said"]
    assert None not in codes, "a rank hangs"
    allowed = {0, DIED, KILLED} | (set() if found["was_ready"] else {ALONE})
    assert set(codes) <= allowed, found
    for rank in range(RANKS):
        if codes[rank] == DIED:
            assert "killed by signal: Killed" in said[str(rank)], said
    if found["killed"].startswith(("worker", "both")):
        rank = int(found["killed"][-1])
        assert KILLED not in codes
        assert codes[1 - rank] in ({0} if found["was_ready"] else {0, ALONE}), found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, tiny_tree) -> dict[int, list[float]]:
    """The losses of trainings without a cache, by number of ranks."""
    return {
        ranks: kill_training.undisturbed(tmp_path_factory.mktemp("calm"), tiny_tree, ranks)
        for ranks in (1, 2)
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", TRAININGS)
def test_a_killed_training_has_served_what_the_files_hold(
    server, tmp_path, tiny_tree, undisturbed, case
):
    ranks = 1 + case // 10 % 2
    found = kill_training.run_killed(tmp_path, tiny_tree, ranks, case)
    server.tally.update({"trainings": 1, f"training: {found.killed}": 1})
    server.tally.update({"steps_compared": len(found.losses)})
    assert found.losses == undisturbed[ranks][: len(found.losses)]
    kill_training.check_ends(tmp_path, found)
