"""Memory over the run: the trainer's process tree, the machine, and each device."""

from dataclasses import dataclass
from typing import Literal

MemoryName = Literal[
    "process tree RSS",
    "process tree PSS",
    "rank process RSS",
    "system used",
    "device allocated",
    "device reserved",
    "device peak allocated",
    "GPU used",
]


@dataclass(frozen=True, kw_only=True)
class MemoryPoint:
    """One measurement. `step` or `at_unix_s` is None where it is not known."""

    step: float | None
    at_unix_s: float | None
    size_bytes: float


@dataclass(frozen=True, kw_only=True)
class MemoryCourse:
    """One memory over time, in bytes.

    `owner` is a rank ("rank 0"), a machine, or a GPU of it; `source` is the kind of record it was
    read from. `slope_bytes_per_100_steps` is the Theil-Sen slope over the whole course with its
    95 % interval, `late_slope_bytes_per_100_steps` that over the second half, where warming up is
    over; None with fewer than three points or where steps are not known. `points` is thinned to at
    most 512, first, last and peak kept.
    """

    name: MemoryName
    owner: str
    source: str
    num_points: int
    first_bytes: float
    last_bytes: float
    peak_bytes: float
    limit_bytes: float | None
    slope_bytes_per_100_steps: float | None
    slope_low_bytes_per_100_steps: float | None
    slope_high_bytes_per_100_steps: float | None
    late_slope_bytes_per_100_steps: float | None
    late_slope_low_bytes_per_100_steps: float | None
    late_slope_high_bytes_per_100_steps: float | None
    points: tuple[MemoryPoint, ...]
