"""Downsampled series keep what a reader looks for: extremes, means, counts; and stay small."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnostics import tables as declared
from diagnostics.analyses.memory_course import MemoryCourse, MemoryPoint
from diagnostics.report.series_buckets import (
    MAX_BUCKETS,
    bucket_of,
    even_edges,
    make_buckets,
    step_edges,
)
from diagnostics.report.series_ranks import MAX_LANES, compute_rank_lanes
from diagnostics.report.series_resources import MAX_COURSE_BUCKETS, load_courses, memory_courses
from diagnostics.report.series_steps import compute_step_series
from tests.diagnostics.factories import phase_rows, run_of

FINITE = st.floats(min_value=0, max_value=1e9, allow_nan=False)


@given(st.lists(FINITE, min_size=1, max_size=900), st.integers(0, 10**6))
def test_buckets_keep_extremes_count_and_mean(values: list[float], first: int) -> None:
    steps = np.arange(first, first + len(values))
    weights = np.ones(len(values))
    found = make_buckets(steps.astype(float), np.array(values), weights, step_edges(steps))

    assert len(found) <= MAX_BUCKETS
    assert min(each.low for each in found) == min(values)
    assert max(each.high for each in found) == max(values)
    assert sum(each.count for each in found) == len(values)
    mean = sum(each.mean * each.count for each in found) / len(values)
    assert mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    assert all(each.low <= each.mean <= each.high for each in found)
    assert all(each.start <= each.first <= each.last < each.end for each in found)


@given(st.lists(FINITE, min_size=2, max_size=400))
def test_every_place_has_a_bucket(places: list[float]) -> None:
    edges = even_edges(np.array(places))
    index = bucket_of(np.array(places), edges)
    assert index.min() >= 0
    assert index.max() <= len(edges) - 2


def test_the_mean_of_a_bucket_is_weighted() -> None:
    steps, ms = np.array([1.0, 2.0]), np.array([10.0, 40.0])
    (found,) = make_buckets(steps, ms, np.array([3.0, 1.0]), np.array([1.0, 3.0]))
    assert found.mean == 17.5


def test_unknown_values_make_no_bucket() -> None:
    places = np.array([0.0, 1.0])
    assert make_buckets(places, np.full(2, np.nan), np.ones(2), np.array([0.0, 2.0])) == ()


def steps_table(tags: dict[int, str], steps: int, rank: int = 0) -> pd.DataFrame:
    return declared.STEPS.from_records(
        {
            "rank": rank, "step": step, "num_steps": 1, "is_tagged": step in tags,
            "tags": tags.get(step, ""), "num_tagged": int(step in tags), "clock": "host",
        }
        for step in range(1, steps + 1)
    )  # fmt: skip


def test_tagged_steps_stand_beside_the_means() -> None:
    rows = [(0, step, "step", 1000.0 if step == 1 else 10.0) for step in range(1, 6)]
    run = run_of(phases=phase_rows(rows, tagged=[1]), steps=steps_table({1: "first,validation"}, 5))
    series = compute_step_series(run, "host", ())

    assert max(each.high for each in series.buckets) == 10.0
    assert [(each.step, each.ms, each.tags) for each in series.tagged] == [
        (1, 1000.0, "first, validation")
    ]


def test_many_tagged_steps_are_counted_by_stretch() -> None:
    steps = 10 * MAX_BUCKETS
    rows = [(0, step, "step", float(step)) for step in range(1, steps + 1)]
    tags = dict.fromkeys(range(2, steps + 1), "gc")
    run = run_of(phases=phase_rows(rows, tagged=tags), steps=steps_table(tags, steps))
    series = compute_step_series(run, "host", ())

    assert len(series.tagged) == MAX_BUCKETS
    assert sum(each.count for each in series.tagged) == steps - 1
    assert max(each.ms for each in series.tagged) == steps


def test_phases_of_a_bucket_sum_to_its_steps() -> None:
    generator = np.random.default_rng(0)
    rows = []
    for step in range(1, 1001):
        forward, backward = generator.uniform(1, 9, 2)
        rows += [(0, step, "forward", forward), (0, step, "backward", backward)]
        rows.append((0, step, "step", forward + backward))
    run = run_of(phases=phase_rows(rows), steps=steps_table({}, 1000))
    series = compute_step_series(run, "host", ("forward", "backward"))

    for place, bucket in enumerate(series.buckets):
        parts = sum(phase.ms[place] for phase in series.phases)
        assert parts == pytest.approx(bucket.mean)


def test_a_phase_that_few_steps_have_counts_as_nothing_in_the_others() -> None:
    rows = [(0, step, "forward", 4.0) for step in range(1, 481)]
    rows += [(0, 1, "optimizer", 2.0)]
    rows += [(0, step, "step", 4.0) for step in range(1, 481)]
    run = run_of(phases=phase_rows(rows), steps=steps_table({}, 480))
    series = compute_step_series(run, "host", ("forward", "optimizer"))

    assert series.phases[1].ms[:2] == (1.0, 0.0)  # steps 1 and 2 share the first bucket


def test_a_run_without_steps_has_no_series() -> None:
    assert compute_step_series(run_of(), "host", ()) is None
    assert compute_rank_lanes(run_of()) is None
    assert load_courses(run_of()) == ()


def test_lanes_show_each_rank_without_its_waits() -> None:
    rows = [(rank, step, "step", 100.0) for rank in (0, 1) for step in range(1, 11)]
    waits = [
        {
            "rank": rank, "step": step, "is_tagged": False, "clock": "host", "num_buckets": 1,
            "num_bytes": 1.0, "num_exchanges": 1, "ms": 30.0, "launch_ms": 0.0,
            "exposed_ms": 30.0 if rank == 0 else 0.0, "wait_ms": 0.0,
        }
        for rank in (0, 1)
        for step in range(1, 11)
    ]  # fmt: skip
    run = run_of(phases=phase_rows(rows), communication=declared.COMMUNICATION.from_records(waits))
    found = compute_rank_lanes(run)

    assert found.is_own
    assert [(lane.rank, lane.mean_ms) for lane in found.lanes] == [(0, 70.0), (1, 100.0)]
    assert (found.low_ms, found.high_ms) == (70.0, 100.0)


def test_of_many_ranks_the_slowest_are_shown() -> None:
    rows = [(rank, step, "step", 10.0 + rank) for rank in range(MAX_LANES + 5) for step in (1, 2)]
    found = compute_rank_lanes(run_of(phases=phase_rows(rows)))

    assert not found.is_own
    assert [lane.rank for lane in found.lanes] == list(range(5, MAX_LANES + 5))
    assert found.num_left_out == 5


def course_of(points: list[tuple[float | None, float | None, float]]) -> MemoryCourse:
    sizes = [size for _, _, size in points]
    none = dict.fromkeys(
        (
            "limit_bytes",
            *(
                f"{late}slope_{bound}bytes_per_100_steps"
                for late in ("", "late_")
                for bound in ("", "low_", "high_")
            ),
        )
    )
    return MemoryCourse(
        name="process tree PSS",
        owner="box",
        source="resource samples",
        num_points=len(points),
        first_bytes=sizes[0],
        last_bytes=sizes[-1],
        peak_bytes=max(sizes),
        points=tuple(MemoryPoint(step=s, at_unix_s=t, size_bytes=v) for s, t, v in points),
        **none,
    )


def test_memory_is_drawn_over_time_from_the_first_sample() -> None:
    points = [(None, 100.0 + at, 10.0 + at % 7) for at in range(512)]
    (course,) = memory_courses((course_of(points),))

    assert course.axis == "s"
    assert len(course.buckets) <= MAX_COURSE_BUCKETS
    assert course.buckets[0].first == 0.0
    assert course.buckets[-1].last == 511.0
    assert course.peak == 16.0


def test_memory_without_times_is_drawn_over_steps() -> None:
    (course,) = memory_courses((course_of([(10.0, None, 1.0), (20.0, None, 3.0)]),))
    assert course.axis == "step"
    assert (course.buckets[0].first, course.buckets[-1].last) == (10.0, 20.0)


def test_memory_that_is_known_at_no_place_is_not_drawn() -> None:
    assert memory_courses((course_of([(None, None, 1.0)]),)) == ()
