"""GM301, GM302: what a snapshot of the allocator shows that should not be."""

from collections.abc import Iterator

from diagnostics.analyses.snapshot_memory import DeviceSnapshot
from diagnostics.analyses.snapshot_outliving import Outliving
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Finding, Severity
from diagnostics.rules.machine.pattern import GIB, Pattern
from diagnostics.rules.thresholds import limits_of

MIB = 1 << 20
_VERIFY = "python diagnose_memory.py SNAPSHOT.pickle, taken again at the same step"
_PIECES = limits_of("GM301")
_KEPT = limits_of("GM302")
IN_PIECES = Pattern(
    code="GM301",
    name="free-memory-in-pieces",
    summary="{stuck_gib:.2f} GiB of device {device} lie free between tensors ({share:.0%} of what "
    "is reserved), the largest piece {largest_mib:.0f} MiB.",
    docs="""
## What it measures
Blocks without a tensor in segments that hold one, in a snapshot of PyTorch's allocator: they can be
used for smaller requests only and cannot be given back to the device.

## Why it matters
A large request fails although enough is free in sum.

## What to try
Expandable segments, which grow and shrink by pages, and shapes that stay the same.

## False alarms
A snapshot taken between two steps shows holes that the next step fills again. One taken when memory
ran out is what counts.
""",
    limits=_PIECES,
)
ADDS_UP = Pattern(
    code="GM302",
    name="tensors-outlive-their-step",
    summary="{place} leaves {mib_per_step:.2f} MiB more on device {device} with each step: "
    "{size_mib:.0f} MiB over {num_steps} steps of the history.",
    docs="""
## What it measures
Allocations of steps that are over which were still held at the end of a snapshot's history, by the
line of code that made them, and in how many of the steps it left some.

## Why it matters
Weights and the optimizer's state are allocated once. What every step leaves behind adds up to CUDA
out of memory.

## What to try
Look at the line named: a list of losses or outputs that keep their graph (`loss.detach()`), a cache
without a bound, a hook that holds what it saw.

## False alarms
A buffer that is filled over a known number of steps, such as an average of the last hundred.
""",
    limits=_KEPT,
    explains=("GM003",),
)


def snapshot_findings(device: DeviceSnapshot, outliving: Outliving) -> Iterator[Finding]:
    """Of one device of one snapshot."""
    yield from _in_pieces(device)
    yield from _adds_up(device, outliving)


def _in_pieces(device: DeviceSnapshot) -> Iterator[Finding]:
    waste, limit = device.waste, _PIECES["at_note"]
    share = waste.stuck_bytes / device.reserved_bytes if device.reserved_bytes else 0.0
    if share < limit.value or waste.stuck_bytes < _PIECES["least"].value * MIB:
        return
    failed = any(refusal.requested_bytes <= waste.free_bytes for refusal in device.refusals)
    yield IN_PIECES.finding(
        Severity.WARN if failed else Severity.NOTE,
        {
            "device": device.device,
            "stuck_gib": waste.stuck_bytes / GIB,
            "share": share,
            "largest_mib": waste.largest_bytes / MIB,
        },
        [
            row("free between tensors / reserved", share, "share", limit),
            row("largest free piece", waste.largest_bytes, "bytes"),
            row("refused although as much was free", int(failed), "count"),
        ],
        [
            Advice(
                text="Let segments grow and shrink by pages: "
                "PYTORCH_ALLOC_CONF=expandable_segments:True in the environment (before PyTorch "
                "2.9 the name is PYTORCH_CUDA_ALLOC_CONF).",
                verify=_VERIFY,
            )
        ],
        cost_bytes=waste.stuck_bytes,
    )


def _adds_up(device: DeviceSnapshot, outliving: Outliving) -> Iterator[Finding]:
    limit = _KEPT["at_warn"]
    growing = [each for each in outliving.remnants if each.is_adding_up]
    worst = max(growing, key=lambda each: each.size_bytes, default=None)
    if worst is None or worst.size_bytes < limit.value * MIB:
        return
    yield ADDS_UP.finding(
        Severity.WARN,
        {
            "device": device.device,
            "place": worst.place,
            "mib_per_step": worst.per_step_bytes / MIB,
            "size_mib": worst.size_bytes / MIB,
            "num_steps": outliving.num_steps,
        },
        [
            row("left behind", worst.size_bytes, "bytes", limit.value * MIB),
            row("steps that left some", worst.num_steps, "count", outliving.num_steps),
        ],
        [
            Advice(
                text="Look at this line, and at who keeps what it makes: a list of losses or "
                "outputs with their graph (keep `loss.detach()`), a cache without a bound, a hook.",
                verify=_VERIFY,
            )
        ],
        cost_bytes=worst.size_bytes,
    )
