"""How many processes a loader needs: from prices of samples and steps that are made up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrtspike.data.loading_need import (
    BUSY_SHARE,
    LoadingNeed,
    SampleCost,
    StepTime,
    TimedSample,
    typical_cost,
)
from vrtspike.data.workers import resolve_workers


def cost(made_ms, slowest_ms=None):
    return SampleCost(
        samples=8,
        made_ms=made_ms,
        cpu_ms=made_ms,
        slowest_ms=slowest_ms or made_ms,
        part_ms={"read": made_ms / 4, "decode": made_ms / 2, "augment": made_ms / 4},
        spent_ms=9 * made_ms,
    )


def need(made_ms, step_ms, samples=1, batch=1, slowest_ms=None):
    return LoadingNeed(
        samples_per_step=samples,
        batch_size=batch,
        cost=cost(made_ms, slowest_ms),
        step=StepTime(ms=step_ms, source="a run"),
    )


@pytest.mark.parametrize(
    ("made_ms", "step_ms", "samples", "workers"),
    [
        (210.0, 1789.0, 1, 1),  # a correct loader of pictures, steps of the guides
        (210.0, 200.0, 1, 2),
        (1658.0, 200.0, 1, 11),
        (210.0, 200.0, 4, 6),
        (80.0, 100.0, 1, 1),  # busy exactly as long as is allowed
        (80.1, 100.0, 1, 2),
    ],
)
def test_processes_needed(made_ms, step_ms, samples, workers):
    assert need(made_ms, step_ms, samples).workers == workers


def test_processes_beyond_the_cores_feed_no_shorter_steps():
    one = need(10.0, 100.0, 4)
    assert one.cost.cpu_ms > 0
    by_cores = one.cost.cpu_ms * 4 / 2
    assert one.fed_ms(16, 2) == pytest.approx(max(10.0 * 4 / 16, by_cores))
    assert one.fed_ms(16, 2) == one.fed_ms(64, 2) > one.fed_ms(64, 1000)
    assert one.fed_ms(1, 2) == pytest.approx(40.0)


@given(
    made=st.floats(0.01, 1e4),
    step=st.floats(0.01, 1e5),
    samples=st.integers(1, 64),
    ranks=st.integers(1, 16),
    cores=st.integers(1, 256),
)
def test_auto_keeps_up_where_the_cores_allow_it_and_never_oversubscribes(
    made, step, samples, ranks, cores
):
    wish = need(made, step, samples)
    choice = resolve_workers("auto", local_ranks=ranks, cores=cores, need=wish)
    assert choice.needed == wish.workers
    assert 1 <= choice.per_rank <= wish.workers
    if cores >= 2 * ranks:
        assert ranks * (choice.per_rank + 1) <= cores
    else:
        assert choice.per_rank == 1
    if choice.per_rank == wish.workers:
        assert wish.fed_ms(choice.per_rank, math.inf) <= BUSY_SHARE * step * (1 + 1e-9)
        assert "cores allow" not in choice.explanation
    else:
        assert f"{wish.workers} are needed" in choice.explanation
    assert f"the guide's rule would give {choice.guide}" in choice.explanation
    again = resolve_workers("auto", local_ranks=ranks, cores=cores, need=wish)
    assert again == choice


@given(ranks=st.integers(1, 16), cores=st.integers(1, 256))
def test_without_a_price_the_guides_rule_decides_within_the_cores(ranks, cores):
    unknown = LoadingNeed(
        samples_per_step=1, batch_size=1, cost=cost(10.0), step_unknown="no run yet"
    )
    choice = resolve_workers("auto", local_ranks=ranks, cores=cores, need=unknown)
    assert choice.needed is None
    if choice.per_rank == choice.guide:
        assert choice.explanation.endswith(", by the guide's rule: no run yet")
    else:
        assert ranks * (choice.guide + 1) > cores
        assert f"would give {choice.guide}, too many for " in choice.explanation
        assert choice.explanation.endswith(": no run yet")
    assert choice.per_rank == max(1, min(int(cores * 0.8), cores - ranks) // ranks)


def test_a_number_that_is_given_is_followed_whatever_is_needed():
    choice = resolve_workers(3, local_ranks=1, cores=8, need=need(100.0, 10.0))
    assert (choice.per_rank, choice.needed) == (3, 13)


def test_the_guide_asks_for_four_on_any_machine():
    assert resolve_workers("auto", local_ranks=1, cores=2).guide == 4
    assert resolve_workers("auto", local_ranks=3, cores=40).guide == 10


@pytest.mark.parametrize(
    ("cores", "ranks", "per_rank", "said"),
    [
        (40, 3, 10, "int(40 cores x 0.8) // 3 ranks = 10: 10 for each rank, by the guide's rule"),
        (64, 4, 12, "int(64 cores x 0.8) // 4 ranks = 12: 12 for each rank, by the guide's rule"),
        (64, 1, 51, "int(64 cores x 0.8) // 1 rank = 51: 51 for each rank, by the guide's rule"),
        (64, 2, 25, "int(64 cores x 0.8) // 2 ranks = 25: 25 for each rank, by the guide's rule"),
        (
            8,
            2,
            3,
            "int(8 cores x 0.8) // 2 ranks = 3: 3 for each rank, by the cores; the guide's rule "
            "with its least of 4 would give 4, too many for 8 cores for 2 ranks",
        ),
        (
            2,
            1,
            1,
            "int(2 cores x 0.8) // 1 rank = 1: 1 for each rank, by the cores; the guide's rule "
            "with its least of 4 would give 4, too many for 2 cores for 1 rank",
        ),
        (
            1,
            4,
            1,
            "int(1 core x 0.8) // 4 ranks = 0, at least 1: 1 for each rank, by the cores; the "
            "guide's rule with its least of 4 would give 4, too many for 1 core for 4 ranks",
        ),
    ],
)
def test_auto_by_the_cores_says_what_the_guide_would_give(cores, ranks, per_rank, said):
    choice = resolve_workers("auto", local_ranks=ranks, cores=cores)
    assert (choice.per_rank, choice.explanation) == (per_rank, f"TOTAL_WORKERS auto: {said}")


@pytest.mark.parametrize(
    ("cores", "ranks", "ending"),
    [
        (64, 4, "; the guide's rule would give 12: int(64 cores x 0.8) // 4 ranks = 12"),
        (4, 1, "; the guide's rule would give 4: int(4 cores x 0.8) // 1 rank = 3, at least 4"),
        (1, 2, "; the guide's rule would give 4: int(1 core x 0.8) // 2 ranks = 0, at least 4"),
    ],
)
def test_auto_by_need_says_what_the_guide_would_have_given(cores, ranks, ending):
    choice = resolve_workers("auto", local_ranks=ranks, cores=cores, need=need(10.0, 100.0))
    assert choice.per_rank == 1
    assert choice.explanation.endswith(ending)


def test_a_number_below_the_ranks_is_one_for_each():
    choice = resolve_workers(1, local_ranks=8, cores=64)
    assert choice.explanation == "TOTAL_WORKERS 1 // 8 ranks, at least 1: 1 for each rank"


@pytest.mark.parametrize(
    ("slowest_ms", "workers", "prefetch"),
    [(10.0, 1, 2), (1000.0, 1, 11), (1000.0, 4, 3), (1000.0, 16, 2)],
)
def test_prefetch_bridges_the_slowest_batch(slowest_ms, workers, prefetch):
    wish = need(10.0, 100.0, slowest_ms=slowest_ms)
    assert wish.prefetch(workers) == prefetch
    assert workers * prefetch * 100.0 >= slowest_ms


def test_micro_batches_share_the_time_of_their_step():
    whole = need(10.0, 400.0, samples=4, batch=1, slowest_ms=350.0)
    assert whole.prefetch(1) == 5  # a batch is used every 100 ms


def test_a_cache_spares_reading_and_decoding():
    assert cost(100.0).cached_ms() == pytest.approx(25.0)


times = st.lists(
    st.builds(
        TimedSample,
        part_ms=st.fixed_dictionaries(
            {"read": st.floats(0, 1e3), "decode": st.floats(0, 1e3), "other": st.floats(0, 10)}
        ),
        cpu_ms=st.floats(0, 1e3),
    ),
    min_size=1,
    max_size=12,
)


@given(times)
def test_parts_sum_to_the_price_and_order_does_not_matter(timed):
    found = typical_cost(timed, spent_ms=1.0)
    assert sum(found.part_ms.values()) == pytest.approx(found.made_ms)
    assert found.slowest_ms == max(each.made_ms for each in timed)
    assert found.samples == len(timed)
    again = typical_cost(timed[::-1], spent_ms=1.0)
    assert again.made_ms == pytest.approx(found.made_ms)


def test_one_sample_that_waited_decides_nothing():
    usual = [TimedSample(part_ms={"decode": 20.0}, cpu_ms=20.0)] * 7
    slow = TimedSample(part_ms={"decode": 5000.0}, cpu_ms=20.0)
    found = typical_cost([*usual, slow], spent_ms=0.0)
    assert (found.made_ms, found.slowest_ms) == (20.0, 5000.0)
