"""Samples per second, of all ranks together: inside the steps, and by the wall clock."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Samples (clips) per second of all ranks; None is unknown, and `reasons` says why.

    `samples_per_s` counts the time of ordinary steps alone: what the training loop can do.
    `wall_samples_per_s` counts all samples over the time from the first step's start to the last
    one's end, validation, checkpoints and tagged steps included: what a person waits for.
    """

    samples_per_s: float | None
    samples_per_step: float | None
    num_steps: int
    wall_samples_per_s: float | None
    wall_s: float | None
    reasons: tuple[str, ...] = ()
