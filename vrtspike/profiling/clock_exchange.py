"""Compares the clocks of all ranks with that of rank 0, over the ranks' own connections.

Happens before the first step and after the last one, when every rank takes part. It may fail, as
where a firewall keeps CPU messages apart; then the ranks' clocks are simply not compared.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from vrtspike.profiling.rank_clocks import (
    THE_SAME_CLOCK,
    ClockOffset,
    RoundTrip,
    estimate_offset,
)
from vrtspike.profiling.recording import RankPlace

ROUNDS = 16
"""Of so many round trips the quickest is next to undisturbed; they take about 2 ms for a rank."""

_PATIENCE = timedelta(seconds=30)
_COMPARED = "clock_offset"
_NOT_COMPARED = "clock_offset_missing"


class ClockExchange:
    """Compares clocks when told, and writes what it finds as an event.

    Args:
        place: Which rank this is, of how many; alone there is nothing to compare.
        event: Writes an event: name and values.
        now_ns: The clock to compare, in ns since the epoch.
    """

    def __init__(
        self,
        place: RankPlace,
        event: Callable[..., None],
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._place = place
        self._event = event
        self._now_ns = now_ns
        self._group: Any = None
        self._failed = False

    def compare(self, moment: str) -> None:
        """One comparison; all ranks call it together. `moment` is start or end."""
        if self._place.world_size == 1 or self._failed:
            return
        try:
            found = self._compare()
        except (RuntimeError, ValueError) as error:  # what torch raises for lost connections
            self._failed = True
            self._event(_NOT_COMPARED, moment=moment, reason=str(error).splitlines()[0])
            return
        self._event(
            _COMPARED,
            moment=moment,
            offset_ms=found.offset_ms,
            uncertainty_ms=found.uncertainty_ms,
            rounds=found.rounds,
        )

    def _compare(self) -> ClockOffset:
        if self._group is None:  # messages between CPUs, whatever the gradients travel by
            self._group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        if self._place.rank:
            return estimate_offset([self._ask() for _ in range(ROUNDS)])
        for rank in range(1, self._place.world_size):
            for _ in range(ROUNDS):
                self._answer(rank)
        return THE_SAME_CLOCK

    def _ask(self) -> RoundTrip:
        box = torch.zeros(1, dtype=torch.int64)
        sent_ns = self._now_ns()
        self._send(box, 0)
        self._receive(box, 0)
        return RoundTrip(sent_ns=sent_ns, theirs_ns=int(box), received_ns=self._now_ns())

    def _answer(self, rank: int) -> None:
        box = torch.zeros(1, dtype=torch.int64)
        self._receive(box, rank)
        box.fill_(self._now_ns())
        self._send(box, rank)

    def _send(self, box: Tensor, rank: int) -> None:
        distributed.send(box, rank, group=self._group)

    def _receive(self, box: Tensor, rank: int) -> None:
        distributed.recv(box, rank, group=self._group)
