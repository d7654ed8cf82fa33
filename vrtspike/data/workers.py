"""How many worker processes load data; needs no PyTorch."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

AUTO_CORE_SHARE = 0.8
"""Share of the cores that "auto" gives to loading, as the performance guide does."""


@dataclass(frozen=True, slots=True)
class WorkerChoice:
    """Worker processes of one rank, and in one line why so many."""

    per_rank: int
    explanation: str


def resolve_workers(
    total_workers: int | Literal["auto"], *, local_ranks: int, cores: int
) -> WorkerChoice:
    """Divide `DATALOADER.TOTAL_WORKERS`, which counts a whole machine, among its ranks.

    Args:
        total_workers: a number for the machine, or "auto": 80 % of the cores.
        local_ranks: training processes on this machine.
        cores: cores this machine lets us use.

    Returns:
        Workers of one rank. "auto" gives at least 1 and together never more than the cores (but
        for more ranks than cores); a given number is followed, with a word if it is unwise.
    """
    if total_workers == "auto":
        wanted = int(cores * AUTO_CORE_SHARE) // local_ranks
        per_rank = max(1, wanted)
        rule = f"int({cores} cores x {AUTO_CORE_SHARE}) // {local_ranks} ranks = {wanted}"
        least = ", at least 1" if wanted < 1 else ""
        return WorkerChoice(
            per_rank, f"TOTAL_WORKERS auto: {rule}{least}: {per_rank} for each rank"
        )
    per_rank = total_workers // local_ranks
    if total_workers and not per_rank:
        per_rank = 1
    text = f"TOTAL_WORKERS {total_workers} // {local_ranks} ranks: {per_rank} for each rank"
    if per_rank == 0:
        text += " (the training process loads the data itself)"
    if per_rank * local_ranks > cores:
        text += f"; more than the {cores} cores allowed: they will wait for each other"
    return WorkerChoice(per_rank, text)


def allowed_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores this process may use: its CPU affinity, less where a cgroup quota allows less."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    quota = _cgroup_quota(cgroup)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _cgroup_quota(cgroup: Path) -> float | None:
    """Cores of the CPU quota of a container (cgroup 2, else 1); None if there is none."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not limit.isdecimal() or not period.isdecimal() or not int(period):
        return None  # "max", or -1: no quota
    return int(limit) / int(period)
