"""HM102: several training jobs share a machine that has little memory left."""

from collections.abc import Iterator, Sequence

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.machine_jobs import Job
from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.machine.memory_in_use import VERIFY, memory_in_use
from diagnostics.rules.machine.pattern import GIB, Pattern
from diagnostics.rules.thresholds import limits_of

_LIMITS = limits_of("HM102")
TIGHT, AT_ONCE = _LIMITS["tight"], _LIMITS["at_once"]
SEVERAL_JOBS = Pattern(
    code="HM102",
    name="several-jobs-on-tight-memory",
    summary="{count} training jobs run at once and hold {held_gib:.1f} GiB, while {used_share:.0%} "
    "of {limit_gib:.1f} GiB are in use.",
    docs="""
## What it measures
Training jobs of this trainer that run now (a process with its children is one job), and the memory
in use.

## Why it matters
Each job was planned as if the machine were its own: caches and loader processes add up until one
of them is killed.

## What to try
Run them one after the other, or give each a part of DATA.CACHE_SIZE_GB and
DATALOADER.TOTAL_WORKERS.

## False alarms
Jobs whose caches are full do not grow any more; then a high share is steady.
""",
    limits=_LIMITS,
)


def several_jobs_findings(capacity: Capacity, jobs: Sequence[Job]) -> Iterator[Finding]:
    """Two jobs or more, while memory is tight."""
    room = capacity.tightest()
    if len(jobs) < AT_ONCE.value or room is None or room.used_share <= TIGHT.value:
        return
    held = sum(job.memory_bytes for job in jobs)
    evidence = [memory_in_use(room, TIGHT.value)]
    evidence += [
        Evidence(
            metric=say("job of process {root_pid}", root_pid=job.root_pid),
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
            "used_share": room.used_share,
            "limit_gib": room.limit_bytes / GIB,
        },
        evidence,
        [Advice(text="Run them one after the other, or end the smallest.", verify=VERIFY)],
        cost_bytes=held,
    )
