"""What is written down about the ranks themselves: where each one runs, and how its clock goes."""

import os
from collections.abc import Callable
from typing import Any

import torch

from vrtspike.profiling.clock_exchange import ClockExchange
from vrtspike.profiling.environment import describe_device
from vrtspike.profiling.recording import RankPlace

_DEVICE_FACTS = ("type", "name", "index", "uuid")


class RankFacts:
    """Writes the place of this rank, and compares its clock with rank 0's at start and end.

    Args:
        place: The rank; alone nothing is written, since `meta.json` tells all.
        device: Where it trains.
        host: The machine's name, redacted where that is wanted.
        event: Writes an event: name and values.
    """

    def __init__(
        self, place: RankPlace, device: torch.device, host: str | None, event: Callable[..., None]
    ) -> None:
        self._place = place
        self._device = device
        self._host = host
        self._event = event
        self._clocks = ClockExchange(place, event)

    def start(self) -> None:
        """Before the first step; all ranks call it together."""
        if self._place.world_size > 1:
            self._event("rank_place", **self._values())
        self._clocks.compare("start")

    def end(self) -> None:
        """After the last step of a run that no rank left early; all ranks call it together."""
        self._clocks.compare("end")

    def _values(self) -> dict[str, Any]:
        device = describe_device(self._device)
        return {
            "world_size": self._place.world_size,
            "local_rank": self._place.local_rank,
            "host": self._host,
            "pid": os.getpid(),
            **{f"device_{name}": device[name] for name in _DEVICE_FACTS if name in device},
        }
