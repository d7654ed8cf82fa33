"""What HM104, HM105 and GM101 are called and how they are put: a forecast beyond what is there."""

from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.thresholds import limits_of

_NEED = (
    "{config} needs {need_gib:.2f} GiB of {resource}; with what is in use that is {share:.0%} of "
    "{limit_gib:.2f} GiB: {verdict}."
)
_DOCS = """
## What it measures
What a configuration will need of {resource}, together with what is in use now, against
{limit}. It is worked out before anything runs, from
{parts}.

## Why it matters
{why}

## What to try
The switches of the advice: they were added one after the other until the run fits with room to
spare. The last line says what they bring, and `verify` is the command that forecasts again.

## False alarms
{false_alarms}
"""
FORECAST_PATTERNS = {
    "host memory": Pattern(
        code="HM104",
        name="forecast-exceeds-host-memory",
        summary=_NEED,
        docs=_DOCS.format(
            resource="the machine's memory",
            parts="processes, cache, batches in the making; on the CPU the model and its training",
            limit="the smaller of the machine's memory and its container's limit",
            why="The kernel ends a process when memory runs out, often hours into a run, when the "
            "cache\nis full.",
            false_alarms="It is the peak, with validation's processes beside those of the training "
            "and a full cache.\nOn the CPU the working memory is an estimate.",
        ),
        limits=limits_of("HM104"),
    ),
    "shared memory": Pattern(
        code="HM105",
        name="forecast-exceeds-shared-memory",
        summary=_NEED,
        docs=_DOCS.format(
            resource="/dev/shm",
            parts="batches that loader processes have ready, of training and validation",
            limit="its size",
            why="A loader process that finds it full dies with a bus error.",
            false_alarms="All batches are counted as ready at once; a trainer that waits for data "
            "never has so many.",
        ),
        limits=limits_of("HM105"),
    ),
    "GPU memory": Pattern(
        code="GM101",
        name="forecast-exceeds-gpu-memory",
        summary=_NEED,
        docs=_DOCS.format(
            resource="each GPU's memory",
            parts="weights, gradients, optimizer, activations, validation",
            limit="the GPU that has the least free",
            why="CUDA out of memory ends the run, in the first step or in the first validation.",
            false_alarms="Activations are worked out from shapes; kernels that need less working "
            "memory leave room.",
        ),
        limits=limits_of("GM101"),
    ),
}
