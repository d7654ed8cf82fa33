"""HM101: the memory of this machine, now, whatever will run on it."""

from collections.abc import Iterator, Sequence

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.machine_jobs import Job
from diagnostics.rules.finding import Advice, Finding, Severity
from diagnostics.rules.machine.memory_in_use import VERIFY, memory_in_use
from diagnostics.rules.machine.pattern import GIB, Pattern
from diagnostics.rules.machine.several_jobs import several_jobs_findings
from diagnostics.rules.thresholds import limits_of

_LIMITS = limits_of("HM101")
FULL_WARN, FULL_CRITICAL = _LIMITS["at_warn"], _LIMITS["at_critical"]
NEARLY_FULL = Pattern(
    code="HM101",
    name="machine-memory-nearly-full",
    summary="{used_share:.0%} of {limit_gib:.1f} GiB are in use ({source}); at 100 % the system "
    "kills a process.",
    docs="""
## What it measures
Memory in use now, against the smaller of the machine's memory and the limit of its container.
File cache that the system drops by itself does not count as used.

## Why it matters
When nothing is left, the kernel kills a process, often the trainer or one of its loader processes.

## What to try
A smaller cache or fewer loader processes for the job that holds the most; otherwise end other
programs first.

## False alarms
A machine that is used up by design, such as a database with a fixed budget, can stand so for years.
""",
    limits=_LIMITS,
)


def pressure_findings(capacity: Capacity, jobs: Sequence[Job]) -> Iterator[Finding]:
    """A machine that is nearly full, or shared by several jobs."""
    yield from _nearly_full(capacity, jobs)
    yield from several_jobs_findings(capacity, jobs)


def _nearly_full(capacity: Capacity, jobs: Sequence[Job]) -> Iterator[Finding]:
    room = capacity.tightest()
    if room is None or room.used_share <= FULL_WARN.value:
        return
    severity = Severity.CRITICAL if room.used_share > FULL_CRITICAL.value else Severity.WARN
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
            "used_share": room.used_share,
            "limit_gib": room.limit_bytes / GIB,
            "source": room.source,
        },
        [memory_in_use(room, FULL_WARN.value)],
        [Advice(text=text, verify=VERIFY)],
        cost_bytes=room.used_bytes,
    )
