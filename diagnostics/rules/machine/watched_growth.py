"""HM106: memory that grows while the training is watched, and whose it is."""

from collections.abc import Iterator

from diagnostics.analyses.watch_course import WatchView
from diagnostics.analyses.watch_growth import Growing
from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.host_memory.growth_advice import LOADING_KEEPS, TRAINING_KEEPS
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.named_pids import named_pids
from diagnostics.rules.thresholds import limits_of

_LIMITS = limits_of("HM106")
LEAST_RISE, SOON = _LIMITS["least_rise"], _LIMITS["soon"]
MIB = 1 << 20
_HOLDERS = {
    "launcher": "process {pid}",
    "main": "training process {pid}",
    "worker": "loader process {pid}",
    "sampler": "process {pid}",
    "other": "process {pid}",
}
_SHARED = (
    "Something fills /dev/shm and does not delete it: kept batches of the loader, or files "
    "that are left there."
)
_DEVICE = (
    "Tensors on the GPU are kept from step to step: look for losses or outputs that are collected "
    "with their graph (keep `loss.detach()`), and for hooks that hold what they saw."
)
_ANYONE = "Look into this process: it belongs to the training, but trains and loads nothing."
WATCHED_GROWTH = Pattern(
    code="HM106",
    name="memory-growing-now",
    summary="{holder} grows steadily by {mib_per_s:.2f} MiB/s, by {rise_mib:.0f} MiB so far.",
    docs="""
## What it measures
With --watch: memory of each process of the training that it shares with no other, of /dev/shm, and
of processes on GPUs as the driver tells it, where it rises steadily over the time that was watched.
Rises at once and what is given back again are left out; the rate is told by what follows the first
fifth, the growth so far by all that was watched.

## Why it matters
Memory that only grows ends the run sooner or later; the kernel then kills a process.

## What to try
Find what the named process collects. Restarting it only buys time.

## False alarms
Watched from its start on, a run that warms up for as long as it is watched looks like growth.
""",
    limits=_LIMITS,
)


def watched_findings(view: WatchView | None) -> Iterator[Finding]:
    """One for each memory that grows; the limit is how soon it ends the run."""
    if view is None:
        return
    for growing in view.growing:
        if growing.trend.rise >= LEAST_RISE.value * MIB:
            left = growing.seconds_left if growing.kind == "GPU" else view.seconds_left
            yield _finding(growing, left)


def _finding(growing: Growing, seconds_left: float | None) -> Finding:
    soon = seconds_left is not None and seconds_left < SOON.value
    rise = growing.rise_bytes
    return WATCHED_GROWTH.finding(
        Severity.CRITICAL if soon else Severity.WARN,
        {
            "holder": _holder(growing),
            "mib_per_s": growing.trend.slope / MIB,
            "rise_mib": rise / MIB,
        },
        (
            _evidence("growth while watched", int(rise), "bytes", LEAST_RISE.value * MIB),
            _evidence("seconds until the memory's end", seconds_left, "s", SOON.value),
        ),
        [Advice(text=_advice(growing), verify="python diagnose_memory.py --watch")],
        cost_bytes=int(rise),
    )


def _holder(growing: Growing) -> str:
    if growing.kind == "GPU":
        return _on_gpu(growing)
    process = _process(growing)
    if growing.kind == "process":
        return process
    if growing.kind == "processes":
        return say(
            "The memory of {count} loader processes together{pids}",
            count=growing.count,
            pids=named_pids(growing.pids),
        )
    if growing.pid is None:
        return "/dev/shm"
    return say("/dev/shm, filled by {process},", process=process)


def _on_gpu(growing: Growing) -> str:
    if growing.pid is None:
        return say("Memory in use on GPU {index}", index=growing.index)
    process = _process(growing)
    return say("The memory of {process} on GPU {index}", process=process, index=growing.index)


def _process(growing: Growing) -> str:
    """Of several ranks it says which one's it is."""
    process = say(_HOLDERS[growing.role or "other"], pid=growing.pid)
    if growing.rank is None:
        return process
    return say("{name} (rank {rank})", name=process, rank=growing.rank)


def _advice(growing: Growing) -> str:
    if growing.kind == "GPU":
        return _DEVICE
    if growing.kind == "/dev/shm":
        return _SHARED
    by_role = {"main": TRAINING_KEEPS, "worker": LOADING_KEEPS}
    return by_role.get(growing.role or "other", _ANYONE)


def _evidence(metric: str, value: float | None, unit: str, limit: float) -> Evidence:
    return Evidence(metric=metric, value=value, unit=unit, limit=limit, source="--watch")
