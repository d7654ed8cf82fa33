"""What is written down about the ranks themselves: where each one runs, and how its clock goes."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vrtspike.engine.clock_exchange import ClockExchange
from vrtspike.engine.distributed import World
from vrtspike.profiling.communication import Communication
from vrtspike.profiling.environment import describe_device
from vrtspike.profiling.recording import RankPlace
from vrtspike.profiling.records import RunRecord


def watched(world: World) -> World:
    """The same world, whose exchange of gradients is measured where there are several ranks."""
    if world.size == 1:
        return world
    return replace(world, watch=Communication.fitting(world.device))


def place_of(world: World) -> RankPlace:
    """Where this rank runs; all ranks call it together.

    Two launchers on one machine each have a local rank 0, and only one of them may sample it.
    """
    hosts = world.gather(socket.gethostname())
    return RankPlace(
        rank=world.rank,
        local_rank=world.local_rank,
        world_size=world.size,
        is_first_on_host=hosts.index(hosts[world.rank]) == world.rank,
    )


_DEVICE_FACTS = ("type", "name", "index", "uuid")


class RankFacts:
    """Writes the place of this rank, and compares its clock with rank 0's at start and end.

    Args:
        world: The ranks; alone nothing is written, since `meta.json` tells all.
        run: Names the host, redacted where that is wanted.
        event: Writes an event: name and values.
    """

    def __init__(self, world: World, run: RunRecord, event: Callable[..., None]) -> None:
        self._world = world
        self._run = run
        self._event = event
        self._clocks = ClockExchange(world, event)

    def start(self) -> None:
        """Before the first step; all ranks call it together."""
        if self._world.size > 1:
            self._event("rank_place", **self._place())
        self._clocks.compare("start")

    def end(self) -> None:
        """After the last step of a run that no rank left early; all ranks call it together."""
        self._clocks.compare("end")

    def _place(self) -> dict[str, Any]:
        device = describe_device(self._world.device)
        return {
            "world_size": self._world.size,
            "local_rank": self._world.local_rank,
            "host": self._run.host,
            "pid": os.getpid(),
            **{f"device_{name}": device[name] for name in _DEVICE_FACTS if name in device},
        }
