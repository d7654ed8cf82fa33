"""How many worker processes load data; needs no PyTorch."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vrtspike.counted import counted
from vrtspike.data.loading_need import LoadingNeed
from vrtspike.profiling.cgroup_load import CGROUP_ROOT, SELF_CGROUP, cores_quota

AUTO_CORE_SHARE = 0.8
"""Share of the cores that "auto" gives to loading, as the performance guide does."""
GUIDE_MIN_PER_RANK = 4
"""The guide's least number for each GPU, which on a small machine is more than its cores."""


@dataclass(frozen=True, kw_only=True)
class WorkerChoice:
    """Worker processes of one rank, and in one line why so many.

    `needed` keep up with the steps, as far as that is known; `guide` is what the performance
    guide's own rule would give; `limit` is what the cores leave when each rank keeps one.
    """

    per_rank: int
    explanation: str
    guide: int
    limit: int
    needed: int | None = None


def resolve_workers(
    total_workers: int | Literal["auto"],
    *,
    local_ranks: int,
    cores: int,
    need: LoadingNeed | None = None,
) -> WorkerChoice:
    """Divide `DATALOADER.TOTAL_WORKERS`, which counts a whole machine, among its ranks.

    Args:
        total_workers: a number for the machine, or "auto": as many as keep up with the steps, and
            where that is not known, 80 % of the cores.
        local_ranks: training processes on this machine.
        cores: cores this machine lets us use.
        need: what is known about samples and steps.

    Returns:
        Workers of one rank. "auto" gives at least 1, and together with the ranks never more than
        the cores where those are enough for one each; a given number is followed, with a word if
        it is unwise.
    """
    guide = guide_workers(cores, local_ranks)
    limit = max(1, (cores - local_ranks) // local_ranks)
    needed = None if need is None else need.workers
    if total_workers == "auto":
        if need is None or needed is None:
            per_rank, text = _by_cores(cores, local_ranks, limit, need)
        else:
            per_rank = min(needed, limit)
            text = _by_need(need, per_rank, cores, local_ranks)
    else:
        per_rank, text = _as_given(total_workers, local_ranks, cores)
    return WorkerChoice(
        per_rank=per_rank, explanation=text, guide=guide, limit=limit, needed=needed
    )


def _by_cores(cores: int, ranks: int, limit: int, need: LoadingNeed | None) -> tuple[int, str]:
    wanted = int(cores * AUTO_CORE_SHARE) // ranks
    per_rank = min(max(1, wanted), limit)
    least = ", at least 1" if wanted < 1 else ""
    most = f", less the ranks' own cores at most {limit}" if wanted > limit else ""
    rule = f"{_share_rule(cores, ranks)}{least}{most}: {per_rank} for each rank"
    text = f"TOTAL_WORKERS auto: {rule}, {_as_the_guide(per_rank, cores, ranks)}"
    reason = None if need is None else need.reason_unknown()
    return per_rank, text if reason is None else f"{text}: {reason}"


def _share_rule(cores: int, ranks: int) -> str:
    wanted = int(cores * AUTO_CORE_SHARE) // ranks
    return (
        f"int({counted(cores, 'core')} x {AUTO_CORE_SHARE}) // {counted(ranks, 'rank')} = {wanted}"
    )


def guide_workers(cores: int, ranks: int) -> int:
    """What the performance guide's own "auto" gives each rank, whatever the cores can take."""
    return max(GUIDE_MIN_PER_RANK, int(cores * AUTO_CORE_SHARE) // ranks)


def _as_the_guide(per_rank: int, cores: int, ranks: int) -> str:
    """How a choice by the cores stands to the guide's rule."""
    guide = guide_workers(cores, ranks)
    if per_rank == guide:
        return "by the guide's rule"
    least = f" with its least of {guide}" if guide == GUIDE_MIN_PER_RANK else ""
    have = f"{counted(cores, 'core')} for {counted(ranks, 'rank')}"
    return f"by the cores; the guide's rule{least} would give {guide}, too many for {have}"


def _by_need(need: LoadingNeed, per_rank: int, cores: int, ranks: int) -> str:
    assert need.cost is not None
    assert need.step is not None
    text = (
        f"TOTAL_WORKERS auto: {per_rank} for each rank: a sample takes {need.cost.made_ms:.3g} ms "
        f"to make ({need.cost.samples} timed), a step of {need.samples_per_step} takes "
        f"{need.step.ms:.4g} ms ({need.step.source})"
    )
    needed = need.workers or 1
    if needed > per_rank:
        allow = f"{counted(cores, 'core')} {'allows' if cores == 1 else 'allow'} {per_rank}"
        text += f"; {needed} are needed to keep up, {allow}"
    guide = guide_workers(cores, ranks)
    least = f", at least {guide}" if int(cores * AUTO_CORE_SHARE) // ranks < guide else ""
    return f"{text}; the guide's rule would give {guide}: {_share_rule(cores, ranks)}{least}"


def _as_given(total_workers: int, ranks: int, cores: int) -> tuple[int, str]:
    per_rank = total_workers // ranks
    least = ""
    if total_workers and not per_rank:
        per_rank, least = 1, ", at least 1"
    rule = f"{total_workers} // {counted(ranks, 'rank')}{least}"
    text = f"TOTAL_WORKERS {rule}: {per_rank} for each rank"
    if per_rank == 0:
        text += " (the training process loads the data itself)"
    if per_rank * ranks > cores:
        text += f"; more than the {counted(cores, 'core')} allowed: they will wait for each other"
    return per_rank, text


def allowed_cores(cgroup: Path = CGROUP_ROOT, membership: Path = SELF_CGROUP) -> int:
    """Whole cores this process may use: its CPU affinity, or less where a cgroup quota allows less.

    Args:
        cgroup: where control groups are mounted.
        membership: which groups this process is in; a quota may lie on any group above them.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        cores = os.cpu_count() or 1
    quota = cores_quota(cgroup, membership)
    return max(1, cores if quota is None else min(cores, int(quota)))
