"""Where each rank of our trainer runs, and what watches its exchange of gradients."""

import socket
from dataclasses import replace

from vrtspike.engine.distributed import World
from vrtspike.profiling.communication import Communication
from vrtspike.profiling.recording import RankPlace


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
