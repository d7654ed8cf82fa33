"""What rules look at of a process that was killed, part of `Measurements`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class KillFields:
    """Who ended the run, or a process of it; all None where none was lost."""

    killer: Literal["oom_killer", "perhaps_oom_killer", "not_oom_killer", "unknown"] | None = None
    kill_victim: Literal["trainer", "loader", "unknown"] | None = None
    kill_memory: Literal["group", "machine"] | None = None
    """Whose memory had run out: the limit of the control group, or the machine's."""
    num_oom_kills: int | None = None
    """Victims of the kernel among the processes of the run's control group."""
    kill_limit_bytes: int | None = None
    kill_largest: str | None = None
    """The role of the largest process when it was last seen."""
    kill_largest_bytes: int | None = None
    kill_grown: str | None = None
    """The role of the process that had grown most."""
    kill_grown_bytes: int | None = None
