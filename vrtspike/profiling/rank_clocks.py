"""How far the clocks of two machines are apart, from messages that go there and back.

The method of NTP (RFC 5905, section 8): a question leaves at `sent_ns`, is answered at `theirs_ns`
by the other clock, and the answer arrives at `received_ns`. If both ways took equally long, the
other clock was read in the middle; the error is at most half of the round trip. The quickest round
trip of several has the smallest error.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """One question and its answer, in ns since the epoch; `theirs_ns` is by the other clock."""

    sent_ns: int
    theirs_ns: int
    received_ns: int


@dataclass(frozen=True, kw_only=True)
class ClockOffset:
    """What this clock shows more than the other one, in ms; the truth lies within `uncertainty_ms`.

    `rounds` is how many round trips it was chosen from.
    """

    offset_ms: float
    uncertainty_ms: float
    rounds: int


THE_SAME_CLOCK = ClockOffset(offset_ms=0.0, uncertainty_ms=0.0, rounds=0)


def estimate_offset(trips: Iterable[RoundTrip]) -> ClockOffset:
    """The offset by the quickest round trip.

    Raises:
        ValueError: there is none, or an answer arrived before its question was sent: the clock was
            set back meanwhile.
    """
    held = list(trips)
    if not held:
        raise ValueError("no round trip was made")
    best = min(held, key=_length_ns)
    if _length_ns(best) < 0:
        raise ValueError("the clock was set back while it was compared")
    # Whole ns: a float cannot tell two moments since the epoch apart by less than 256 ns.
    twice_ns = (best.sent_ns - best.theirs_ns) + (best.received_ns - best.theirs_ns)
    return ClockOffset(
        offset_ms=twice_ns / 2e6, uncertainty_ms=_length_ns(best) / 2e6, rounds=len(held)
    )


def _length_ns(trip: RoundTrip) -> int:
    return trip.received_ns - trip.sent_ns
