"""CF103, CF107: precision and monitoring of a plan, said before it runs."""

from collections.abc import Iterator

from diagnostics.analyses.memory_demand import Demand, SettingChange
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Finding, Severity
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.machine.setting_advice import advise_to_set
from diagnostics.rules.thresholds import limits_of

PRECISION_OFF = Pattern(
    code="CF103",
    name="mixed-precision-not-planned",
    summary="The run is planned in 32 bits (TRAIN.AMP_ENABLED) on {device}; mixed precision is the "
    "first step of every plan for speed.",
    docs="""
## What it measures
TRAIN.AMP_ENABLED, where the run would be on a GPU.

## Why it matters
Of all the guide's steps it is the one that changes neither network nor data: GPUs with tensor
cores multiply 16-bit numbers several times faster, and activations take half the memory.

## What to try
Switch it on; TRAIN.AMP_DTYPE auto takes bfloat16 where the GPU has it.

## False alarms
A 32-bit run as the baseline of a comparison. GPUs older than compute capability 7.0 gain memory
only.
""",
    limits=limits_of("CF103"),
)
MONITORING_OFF = Pattern(
    code="CF107",
    name="monitoring-off",
    summary="The run is planned without samples of memory, cores and GPUs ({key}: false): what "
    "happens to the machine will not be known.",
    docs="""
## What it measures
PROFILING.RESOURCES, the sampler beside the training.

## Why it matters
Memory that grows, a hot GPU and a neighbour on the machine are then told from nothing. The guide
counts it among the things never to do.

## What to try
Leave it on: it is a process of its own and costs a few per mille of a core.

## False alarms
A benchmark of the trainer alone, on a machine that is watched otherwise.
""",
    limits=limits_of("CF107"),
)
_AMP = "Switch mixed precision on."
_WATCH = "Switch the sampler on."


def planned_training_findings(demand: Demand) -> Iterator[Finding]:
    """The guide's do about precision and its don't about monitoring."""
    if demand.device == "cuda" and demand.setting("TRAIN.AMP_ENABLED") is False:
        change = SettingChange(key="TRAIN.AMP_ENABLED", current=False, proposed=True)
        yield PRECISION_OFF.finding(
            Severity.NOTE,
            {"device": demand.device},
            [row("mixed precision", "off", "", None, demand.config)],
            [advise_to_set(demand.config, change, _AMP)],
        )
    if demand.setting("PROFILING.RESOURCES") is False:
        change = SettingChange(key="PROFILING.RESOURCES", current=False, proposed=True)
        yield MONITORING_OFF.finding(
            Severity.WARN,
            {"key": change.key},
            [row("samplers", 0, "count", 1, demand.config)],
            [advise_to_set(demand.config, change, _WATCH)],
        )
