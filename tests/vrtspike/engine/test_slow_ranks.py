"""Real processes that exchange gradients: who is slow, and why, from what they leave on disk."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.model import Report
from diagnostics.rules.finding import Finding
from tests.vrtspike.engine.rank_cases import CAUSES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
STEPS = 8


def torchrun(num_ranks: int) -> list[str]:
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_ranks}"]


def forked(num_ranks: int) -> list[str]:
    """The same in less time."""
    return [str(HERE / "forked_ranks.py"), str(num_ranks)]


def run_cases(launcher: list[str], *cases: str) -> dict[str, Report]:
    """The report of each case, from its facts alone."""
    done = subprocess.run(
        [
            sys.executable,
            *launcher,
            str(HERE / "rank_cases.py"),
            *cases,
            f"TRAIN.TOTAL_STEPS={STEPS}",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return {case: report_of(case) for case in cases}


def report_of(case: str) -> Report:
    (folder,) = Path("facts", case.replace(":", "_")).glob("train_*")
    return build_report(load_run([folder]))


def straggling(report: Report) -> Finding | None:
    return next((each for each in report.findings if each.rule == "CM001"), None)


def expect_blamed(case: str, report: Report) -> None:
    rank, _, fault = case.partition(":")
    found = straggling(report)
    assert found is not None, (case, report.analysis.ranks)
    assert (found.values["rank"], found.values["cause"]) == (int(rank), CAUSES[fault]), case


def test_two_ranks(project):
    reports = run_cases(forked(2), "1:fetch", "0:exchange", "all:forward")
    for case in ("1:fetch", "0:exchange"):
        expect_blamed(case, reports[case])
    healthy = reports["all:forward"]
    assert straggling(healthy) is None, healthy.analysis.ranks
    expect_whole_facts(healthy)


def expect_whole_facts(report: Report) -> None:
    """What each rank says of its place, its clock and its exchanges."""
    ranks, use = report.analysis.ranks, report.analysis.communication
    assert [(each.rank, each.local_rank, each.device) for each in ranks.places] == [
        (0, 0, "cpu"),
        (1, 1, "cpu"),
    ]
    assert ranks.places[0].clock_offset_ms == 0.0
    other = ranks.places[1]
    assert abs(other.clock_offset_ms) <= other.clock_uncertainty_ms  # one machine has one clock
    assert other.clock_drift_ms is not None
    assert other.start_lateness_ms is not None
    assert (use.buckets, use.exchanges, use.micro_batches) == (1, 1, 1)
    assert use.num_bytes == 4 * sum((3 * 4 * 27 + 4, 4 * 3 * 27 + 3))
    assert 0 <= use.least_exposed_ms <= use.exposed_ms <= use.ms
    assert ranks.reasons == ()


def test_four_ranks(project):
    reports = run_cases(forked(4), "2:forward")
    expect_blamed("2:forward", reports["2:forward"])


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_every_rank_and_every_fault(project, num_ranks):
    cases = [f"{rank}:{fault}" for rank, fault in itertools.product(range(num_ranks), CAUSES)]
    for case, report in run_cases(torchrun(num_ranks), *cases).items():
        expect_blamed(case, report)
