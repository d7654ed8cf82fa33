"""Two hundred runs under faults: the recorder stops none, and all that is left can be read.

`VRTSPIKE_STRESS_CASES` says how many (200); the first ten belong to the quick tests.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.vrtspike.conftest import tiny_config
from tests.vrtspike.stress import campaign, laws
from tests.vrtspike.training_process import PATIENCE_S

QUICK = len(campaign.KINDS)
QUICK_STEPS = 2
CASES = int(os.environ.get("VRTSPIKE_STRESS_CASES", "200"))


class Campaign:
    """The server, the length of an undisturbed run, and the sessions that were started."""

    def __init__(self, server: campaign.ForkServer) -> None:
        self.server = server
        self.length_s = 0.0
        self.sessions: list[int] = []


def project(folder: Path, tree: Path) -> Path:
    (folder / "tree").symlink_to(tree, target_is_directory=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(tiny_config("tree")))
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, tiny_tree: Path) -> Iterator[Campaign]:
    """The campaign; when all is done, nothing of it may run any more or fill /dev/shm."""
    before = laws.shared_files()
    server = campaign.ForkServer()
    found = Campaign(server)
    folder = project(tmp_path_factory.mktemp("undisturbed"), tiny_tree)
    began = time.monotonic()
    fault = campaign.Fault(strikes=False)
    pid, code = campaign.run_once(server, folder, fault, campaign.Moment(0.0, QUICK_STEPS))
    found.length_s = time.monotonic() - began
    found.sessions.append(pid)
    campaign.check(folder, fault, code)
    assert laws.broken_lines(folder / "profiles" / campaign.RUN_ID / "steps.rank0.jsonl") == 0
    yield found
    server.close()
    until = time.monotonic() + PATIENCE_S
    while any(laws.processes_of(each) for each in found.sessions):
        assert time.monotonic() < until, "a process outlives its run"
        time.sleep(0.2)
    assert laws.left_in_shared_memory(before, found.sessions) == []


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            number,
            id=f"{number}-{campaign.KINDS[number % QUICK].__name__}",
            marks=() if number < QUICK else pytest.mark.slow,
        )
        for number in range(CASES)
    ],
)
def test_a_fault_stops_no_training_and_leaves_what_can_be_read(running, tmp_path, tiny_tree, case):
    chance = random.Random(case)
    fault = campaign.KINDS[case % QUICK](chance)
    folder = project(tmp_path, tiny_tree)
    moment = campaign.Moment(
        chance.uniform(0.0, running.length_s), QUICK_STEPS if case < QUICK else QUICK_STEPS + 1
    )
    pid, code = campaign.run_once(running.server, folder, fault, moment)
    running.sessions.append(pid)
    campaign.check(folder, fault, code)
