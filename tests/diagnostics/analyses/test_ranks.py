"""Who is waited for and why, from tables alone."""

import pytest

from diagnostics.analyses.communication import compute_communication
from diagnostics.analyses.ranks import compute_ranks
from diagnostics.rank_tables import COMMUNICATION, RANK_CLOCKS, RANK_PLACES
from diagnostics.run import RunInfo
from diagnostics.tables import STEPS
from tests.diagnostics.factories import phase_rows, run_of

PLAIN = {"data_wait": 2.0, "forward": 10.0, "backward": 20.0}
CLOCKS = [(0, 0.0), (1, 250.0)]
"""Rank 1's clock is a quarter of a second ahead of rank 0's."""


def exchange(rank, step, own_ms, step_ms, launch_ms=0.5, clock="host"):
    """The waits that fill a rank's own time up to the step, half of them in other collectives."""
    wait = (step_ms - own_ms) / 2
    return (rank, step, False, clock, 2, 1e6, 1, wait + 3, wait, launch_ms, wait)


def made(ranks, tagged=(), info=None, **tables):
    """A run of (rank, step) -> phases, whose steps take as long as the slowest rank."""
    phases, waits, steps = [], [], []
    for step in sorted({step for _, step in ranks}):
        held = {rank: ranks[rank, step] for rank in range(8) if (rank, step) in ranks}
        longest = max(sum(each.values()) for each in held.values()) + 1.0
        for rank, own in held.items():
            own_ms = sum(own.values())
            backward = own["backward"] + longest - own_ms
            phases += [(rank, step, n, ms) for n, ms in {**own, "backward": backward}.items()]
            phases.append((rank, step, "step", longest))
            waits.append(exchange(rank, step, own_ms, longest))
            start = 100.0 + step + (0.25 if rank == 1 else 0.0) + (0.001 if rank == 0 else 0.0)
            steps.append({**_STEP_ROW, "rank": rank, "step": step, "start_unix_s": start})
    return run_of(
        info=info,
        phases=phase_rows(phases, tagged=tagged),
        steps=STEPS.from_records(steps),
        **{"communication": COMMUNICATION.from_rows(waits), **tables},
    )


_STEP_ROW = {
    "num_steps": 1,
    "is_tagged": False,
    "tags": "",
    "num_tagged": 0,
    "clock": "host",
    "micro_batches": 3,
}


def even(num_ranks=2, num_steps=10, **slow):
    """Equal ranks; `slow` gives phases of the last rank that take longer."""
    last = num_ranks - 1
    return {
        (rank, step): {**PLAIN, **(slow if rank == last else {})}
        for rank in range(num_ranks)
        for step in range(1, num_steps + 1)
    }


@pytest.mark.parametrize("num_ranks", [2, 4])
@pytest.mark.parametrize(
    ("slow", "cause", "excess"),
    [
        ({"data_wait": 32.0}, "input", 30.0),
        ({"forward": 25.0}, "compute", 15.0),
        ({"backward": 24.0}, "compute", 4.0),
    ],
)
def test_the_rank_that_waits_least_is_named_with_its_cause_and_cost(num_ranks, slow, cause, excess):
    ranks = compute_ranks(made(even(num_ranks, **slow)))
    slowest = ranks.slowest
    assert (slowest.rank, slowest.cause, slowest.slowest_share) == (num_ranks - 1, cause, 1.0)
    assert slowest.excess_ms[cause] == pytest.approx(excess)
    assert slowest.cost_ms_per_step == pytest.approx(excess)
    assert slowest.cost_low_ms == pytest.approx(excess)
    late = {each.rank: each.lateness_ms for each in ranks.times}
    assert late == pytest.approx({**dict.fromkeys(range(num_ranks), 0.0), num_ranks - 1: excess})
    waits = [each.wait_ms for each in ranks.times]
    assert min(waits) == waits[-1]


def test_own_parts_and_waits_sum_to_the_step():
    ranks = compute_ranks(made(even(3, forward=17.0)))
    for each in ranks.times:
        assert sum(each.by_cause.values()) == pytest.approx(each.own_ms)
        assert each.own_ms + each.wait_ms == pytest.approx(ranks.step_ms)


def test_a_slow_launch_is_communication():
    run = made(even(2, backward=50.0))
    slow = run.tables.communication.assign(
        launch_ms=lambda rows: rows["launch_ms"].mask(rows["rank"] == 1, 30.0)
    )
    found = compute_ranks(made(even(2, backward=50.0), communication=slow)).slowest
    assert (found.rank, found.cause) == (1, "communication")
    assert found.excess_ms["communication"] == pytest.approx(29.5)
    assert found.excess_ms["compute"] == pytest.approx(0.5)


def test_what_comes_and_goes_by_chance_costs_nothing_for_sure():
    """Each rank is slow in every other step: the maximum is high, and no one rank is to blame."""
    ranks = {
        (rank, step): {**PLAIN, "forward": 40.0 if (rank + step) % 2 else 10.0}
        for rank in (0, 1)
        for step in range(1, 11)
    }
    found = compute_ranks(made(ranks))
    assert found.slowest.cost_low_ms == 0.0
    assert found.slowest.slowest_share == 5 / 9
    assert found.imbalance_ms == pytest.approx(15.0)


def test_steps_are_aligned_by_number_and_those_that_one_rank_lacks_are_left_out():
    ranks = even(2, num_steps=20)
    for step in range(11, 21):
        del ranks[1, step]
    found = compute_ranks(made(ranks, info=RunInfo(world_size=3)))
    assert found.num_steps == 9  # without the second
    text = " | ".join(found.reasons)
    assert "of 3 ranks, rank 2 left no step" in text
    assert "rank 1 ended after step 10, others went on to 20" in text


def test_tagged_steps_do_not_count():
    ranks = even(2)
    ranks[1, 3] = {**PLAIN, "forward": 5000.0}
    assert compute_ranks(made(ranks, tagged=[3])).slowest.cost_ms_per_step == 0.0


def test_the_second_step_does_not_count_since_one_waits_in_its_forward():
    ranks = even(2, forward=30.0)
    ranks[0, 2] = {**PLAIN, "forward": 5000.0}
    assert compute_ranks(made(ranks)).slowest.cost_ms_per_step == pytest.approx(20.0)


def test_too_few_steps_name_nobody():
    found = compute_ranks(made(even(2, num_steps=5)))
    assert found.slowest is None
    assert found.reasons == (
        "4 ordinary steps that all ranks recorded are too few to compare them",
    )


def test_facts_without_exchanges_say_so():
    found = compute_ranks(made(even(2), communication=COMMUNICATION.empty()))
    assert found.times == ()
    assert "was not recorded" in found.reasons[0]


def test_one_rank_is_nothing_to_compare():
    assert compute_ranks(made(even(1))).reasons == ()
    assert compute_ranks(run_of()).slowest is None


def test_starts_are_compared_by_clocks_set_right():
    clocks = [
        (rank, moment, at, offset, 0.1)
        for rank, offset in CLOCKS
        for moment, at in (("start", 100.0), ("end", 120.0))
    ]
    places = [(rank, 2, rank, "node", 10 + rank, "cuda:0", "H100") for rank in (0, 1)]
    tables = {
        "rank_clocks": RANK_CLOCKS.from_rows(clocks),
        "rank_places": RANK_PLACES.from_rows(places),
    }
    first, second = compute_ranks(made(even(2), **tables)).places
    assert first.start_lateness_ms == pytest.approx(1.0, abs=1e-3)
    assert second.start_lateness_ms == pytest.approx(0.0, abs=1e-3)
    assert (second.clock_offset_ms, second.clock_drift_ms) == (250.0, 0.0)
    assert (second.device, second.host) == ("cuda:0", "node")


def test_communication_is_a_share_of_the_step_and_the_last_to_arrive_shows_the_transfer():
    use = compute_communication(made(even(2, forward=20.0)))
    step_ms = 43.0
    assert (use.hidden_ms, use.exchanges, use.micro_batches) == (3.0, 1.0, 3.0)
    assert use.exposed_ms == pytest.approx((0.5 + 5.5) / 2)
    assert use.least_exposed_ms == pytest.approx(0.5)
    assert use.share == pytest.approx(use.ms / step_ms)
    assert compute_communication(run_of()) is None


def test_every_rank_has_its_share_of_the_steps_in_which_it_was_the_slowest():
    ranks = even(3, num_steps=11)
    for step in (3, 4, 5, 6):
        ranks[1, step] = {**PLAIN, "forward": 40.0}
    for step in (7, 8, 9, 10, 11):
        ranks[2, step] = {**PLAIN, "backward": 60.0}
    found = compute_ranks(made(ranks))
    shares = {each.rank: each.slowest_share for each in found.times}
    assert shares == {0: 0.1, 1: 0.4, 2: 0.5}  # in step 2 all are alike: the first of them
    assert sum(shares.values()) == pytest.approx(1.0)
