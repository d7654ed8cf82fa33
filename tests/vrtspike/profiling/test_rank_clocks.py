"""The offset between two clocks from messages there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrtspike.profiling.rank_clocks import RoundTrip, estimate_offset


def trip(at_ns: int, there_ns: int, back_ns: int, ahead_ns: int) -> RoundTrip:
    """A message whose ways take so long, from a clock that is `ahead_ns` of the other one."""
    return RoundTrip(
        sent_ns=at_ns + ahead_ns,
        theirs_ns=at_ns + there_ns,
        received_ns=at_ns + there_ns + back_ns + ahead_ns,
    )


def test_equal_ways_give_the_offset_itself():
    found = estimate_offset([trip(10**18, 50_000, 50_000, ahead_ns=3_000_000)])
    assert found.offset_ms == pytest.approx(3.0)
    assert (found.uncertainty_ms, found.rounds) == (0.05, 1)


def test_the_quickest_of_several_counts():
    slow = trip(10**18, 4_000_000, 0, ahead_ns=0)
    quick = trip(10**18, 20_000, 20_000, ahead_ns=0)
    found = estimate_offset([slow, quick, slow])
    assert (found.offset_ms, found.uncertainty_ms, found.rounds) == (0.0, 0.02, 3)


ways = st.integers(0, 10**9)


@given(st.lists(st.tuples(ways, ways), min_size=1), st.integers(-(10**12), 10**12))
def test_the_truth_lies_within_the_uncertainty(pairs, ahead_ns):
    trips = [trip(10**18, there, back, ahead_ns) for there, back in pairs]
    found = estimate_offset(trips)
    assert abs(found.offset_ms - ahead_ns / 1e6) <= found.uncertainty_ms + 1e-6


def test_nothing_is_estimated_from_nothing_or_from_a_clock_that_was_set():
    with pytest.raises(ValueError, match="no round trip"):
        estimate_offset([])
    with pytest.raises(ValueError, match="set back"):
        estimate_offset([RoundTrip(sent_ns=10, theirs_ns=5, received_ns=9)])
