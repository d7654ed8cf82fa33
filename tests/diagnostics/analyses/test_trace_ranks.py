"""Traces of several ranks: clocks by their collectives, who waits, what the slowest costs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_ranks import TraceRanks, compare_trace_ranks
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import EventDict, kernel, profiler_step, write_trace

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")


def compared(paths: Sequence[Path]) -> TraceRanks:
    traces = [parse_trace(path) for path in paths]
    return compare_trace_ranks(traces, [analyse_trace(each) for each in traces])


def rank_events(
    own_us: Sequence[float], slowest_us: Sequence[float], ahead_us: float, **described: Any
) -> list[EventDict]:
    """In each step the rank computes, then exchanges until 20 us after the slowest one came."""
    events: list[EventDict] = []
    at = ahead_us
    for number, (own, slowest) in enumerate(zip(own_us, slowest_us, strict=True)):
        told = {"Seq": number, "Process Group Name": "0", **described} if described else {}
        wait = slowest - own + 20
        events += [
            profiler_step(number + 1, at, slowest + 20),
            *kernel("sgemm", at, at + 1, own - 1, 10 * number + 1),
            *kernel("ncclDevKernel_AllReduce", at + 2, at + own, wait, 10 * number + 2, **told),
        ]
        at += slowest + 20 + 7 * number
    return events


def job(
    tmp_path: Path, *own_us: Sequence[float], ahead_us: float = 5000.0, **described: Any
) -> list[Path]:
    slowest = [max(times) for times in zip(*own_us, strict=True)]
    return [
        write_trace(
            tmp_path / f"{rank}.json",
            rank_events(own, slowest, ahead_us * rank, **described),
            distributedInfo={"rank": rank, "world_size": len(own_us)},
        )
        for rank, own in enumerate(own_us)
    ]


@pytest.mark.parametrize("described", [{}, {"Collective name": "allreduce"}])
def test_the_slowest_rank_and_its_cost_by_hand(tmp_path: Path, described: dict[str, Any]) -> None:
    # Rank 1 takes 100, 200, 300 us where the longest other one takes 90.
    found = compared(
        job(tmp_path, [80, 90, 90], [100, 200, 300], [90, 80, 70], **described)
    )  # fmt: skip

    assert (found.why_not, found.num_steps, found.num_paired) == (None, 3, 3)
    assert found.slowest_rank == 1
    assert found.cost_ms_per_step == pytest.approx((10 + 110 + 210) / 3 / 1000)
    first, slowest, _ = found.ranks
    assert slowest.wait_ms == pytest.approx(0)
    assert first.wait_ms == pytest.approx((20 + 110 + 210) / 3 / 1000)
    assert first.step_ms == pytest.approx(slowest.step_ms)
    assert (slowest.slowest_share, first.slowest_share) == (1.0, 0.0)
    assert first.lateness_ms == pytest.approx((0 + 10 + 20) / 3 / 1000)
    assert slowest.lateness_ms == pytest.approx((20 + 120 + 230) / 3 / 1000)


def test_clocks_are_told_apart_by_the_ends_of_collectives(tmp_path: Path) -> None:
    found = compared(job(tmp_path, [80, 90, 90], [100, 200, 300], ahead_us=1e6))

    assert [each.clock_offset_ms for each in found.ranks] == [0.0, pytest.approx(1000.0, abs=0.01)]


def test_the_order_of_the_traces_does_not_matter(tmp_path: Path) -> None:
    paths = job(tmp_path, [80, 90, 90], [100, 200, 300])
    forward, backward = compared(paths), compared(paths[::-1])

    assert forward.cost_ms_per_step == pytest.approx(backward.cost_ms_per_step)
    assert forward.slowest_rank == backward.slowest_rank == 1
    assert {each.rank: each.own_ms for each in forward.ranks} == pytest.approx(
        {each.rank: each.own_ms for each in backward.ranks}
    )


def test_a_wait_that_computation_hides_costs_nothing(tmp_path: Path) -> None:
    paths = job(tmp_path, [80, 90, 90], [100, 200, 300])
    hidden = [*rank_events([80, 90, 90], [100, 200, 300], 0)]
    at = 0.0
    for number, slowest in enumerate([100, 200, 300]):
        hidden += kernel("behind", at, at, slowest + 20, 500 + number)
        at += slowest + 20 + 7 * number
    write_trace(paths[0], hidden, distributedInfo={"rank": 0, "world_size": 2})
    found = compared(paths)

    assert found.ranks[0].wait_ms == pytest.approx(0)
    assert found.cost_ms_per_step == pytest.approx(0)


def test_equal_ranks_cost_nothing(tmp_path: Path) -> None:
    found = compared(job(tmp_path, [80, 90, 90], [80, 90, 90]))

    assert found.cost_ms_per_step == pytest.approx(0)


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    one, other = job(tmp_path, [80, 90], [100, 200])
    alone = write_trace(
        tmp_path / "alone.json",
        [profiler_step(1, 0, 100), *kernel("k", 1, 2, 50, 1)],
        distributedInfo={"rank": 7},
    )
    far = write_trace(
        tmp_path / "far.json", [profiler_step(99, 0, 100)], distributedInfo={"rank": 8}
    )

    assert compared([one]).why_not == "one_trace"
    assert compared([one, one]).why_not == "same_rank"
    assert compared([one, alone]).why_not == "no_collective"
    assert compared([one, far]).why_not == "no_common_step"
    assert compared([one, other]).why_not is None


@pytest.mark.skipif(REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA names no folder")
def test_two_ranks_of_a_real_job() -> None:
    """By hand: of the ends of both, in us of one second, five agree.

    Rank 0: 125046 187835 307389 396148 627817 808923 875808 1143185 1182485 1249534.
    Rank 1: 187835 275717 307334 530301 628149 741081 904616 1129316 1182493 1249345.
    """
    folder = Path(REFERENCE or "", "traces", "two_ranks")
    found = compared([folder / f"sampled_rank-{rank}.json.gz" for rank in (0, 1)])

    assert (found.num_steps, found.num_collectives, found.num_paired) == (2, 10, 5)
    assert found.ranks[1].clock_offset_ms == pytest.approx(0, abs=0.05)
    assert found.slowest_rank == 1
    assert found.cost_ms_per_step == pytest.approx(
        found.ranks[1].own_ms - found.ranks[0].own_ms, abs=1e-6
    )
