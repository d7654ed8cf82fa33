"""Laws of interval algebra, against a plain count of covered nanoseconds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diagnostics.analyses.intervals import Intervals, Timeline, union

PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


def made(pairs: list[tuple[int, int]]) -> Intervals:
    return union(np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]))


def covered(pairs: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in pairs for at in range(start, end)}


def moments(intervals: Intervals) -> set[int]:
    return covered(list(zip(intervals.start.tolist(), intervals.end.tolist(), strict=True)))


@given(PAIRS)
def test_a_union_covers_what_any_covers(pairs: list[tuple[int, int]]) -> None:
    joined = made(pairs)

    assert moments(joined) == covered(pairs)
    assert joined.total_ns == len(covered(pairs))


@given(PAIRS)
def test_a_union_is_disjoint_ordered_and_without_touching(pairs: list[tuple[int, int]]) -> None:
    joined = made(pairs)

    assert (joined.start < joined.end).all()
    assert (joined.end[:-1] < joined.start[1:]).all()


@given(PAIRS, st.randoms())
def test_order_does_not_matter(pairs: list[tuple[int, int]], random: object) -> None:
    shuffled = sorted(pairs, key=lambda _: random.random())  # type: ignore[attr-defined]

    assert moments(made(shuffled)) == moments(made(pairs))
    assert made(shuffled).start.tolist() == made(pairs).start.tolist()


@given(PAIRS, PAIRS, PAIRS)
def test_a_time_line_knows_who_covers_each_moment(
    first: list[tuple[int, int]], second: list[tuple[int, int]], third: list[tuple[int, int]]
) -> None:
    line = Timeline.of([made(first), made(second), made(third)])
    a, b, c = covered(first), covered(second), covered(third)

    only = line.where(line.covered(0) & ~line.covered(1) & ~line.covered(2))
    assert moments(only) == a - b - c
    assert line.total_ns(line.covered(1)) == len(b)
    assert line.total_ns(line.bits > 0) == len(a | b | c)
