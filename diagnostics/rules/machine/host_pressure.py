"""HM101, HM102: the memory of this machine, now, whatever will run on it."""

from collections.abc import Iterator, Sequence

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.machine_jobs import Job
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.machine.pattern import GIB, Pattern

NEARLY_FULL = Pattern(
    "HM101",
    "machine-memory-nearly-full",
    "{used_share:.0%} of {limit_gib:.1f} GiB are in use ({source}); at 100 % the system kills a "
    "process.",
)
SEVERAL_JOBS = Pattern(
    "HM102",
    "several-jobs-on-tight-memory",
    "{count} training jobs run at once and hold {held_gib:.1f} GiB, while {used_share:.0%} of "
    "{limit_gib:.1f} GiB are in use.",
)

FULL_WARN_SHARE = 0.90
"""The performance guide warns above 90 % of system memory."""
FULL_CRITICAL_SHARE = 0.97
TIGHT_SHARE = 0.80
"""As the forecast: above it there is no room for what a machine does besides."""
VERIFY = "python diagnose_memory.py"


def pressure_findings(capacity: Capacity, jobs: Sequence[Job]) -> Iterator[Finding]:
    """A machine that is nearly full, or shared by several jobs."""
    yield from _nearly_full(capacity, jobs)
    yield from _several_jobs(capacity, jobs)


def _nearly_full(capacity: Capacity, jobs: Sequence[Job]) -> Iterator[Finding]:
    share, limit = capacity.used_share, capacity.memory_limit_bytes
    if share is None or limit is None or share <= FULL_WARN_SHARE:
        return
    severity = Severity.CRITICAL if share > FULL_CRITICAL_SHARE else Severity.WARN
    if jobs:
        text = (
            "The training job listed above holds the most: give it a smaller cache "
            "(DATA.CACHE_SIZE_GB) or fewer loader processes (DATALOADER.TOTAL_WORKERS)."
        )
    else:
        text = "No training job of this trainer runs: end other programs before you start one."
    yield NEARLY_FULL.finding(
        severity,
        {
            "used_share": share,
            "limit_gib": limit / GIB,
            "source": capacity.memory_limit_source,
        },
        [_used(capacity, FULL_WARN_SHARE)],
        [Advice(text=text, verify=VERIFY)],
        cost_bytes=int(share * limit),
    )


def _several_jobs(capacity: Capacity, jobs: Sequence[Job]) -> Iterator[Finding]:
    share, limit = capacity.used_share, capacity.memory_limit_bytes
    if len(jobs) < 2 or share is None or limit is None or share <= TIGHT_SHARE:
        return
    held = sum(job.memory_bytes for job in jobs)
    evidence = [_used(capacity, TIGHT_SHARE)]
    evidence += [
        Evidence(
            metric=f"job of process {job.root_pid}",
            value=job.memory_bytes,
            unit="bytes",
            source="/proc",
        )
        for job in jobs
    ]
    yield SEVERAL_JOBS.finding(
        Severity.WARN,
        {
            "count": len(jobs),
            "held_gib": held / GIB,
            "used_share": share,
            "limit_gib": limit / GIB,
        },
        evidence,
        [Advice(text="Run them one after the other, or end the smallest.", verify=VERIFY)],
        cost_bytes=held,
    )


def _used(capacity: Capacity, limit: float) -> Evidence:
    return Evidence(
        metric="memory in use",
        value=capacity.used_share,
        unit="share",
        limit=limit,
        source=capacity.memory_limit_source,
    )
