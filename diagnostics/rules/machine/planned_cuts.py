"""CF108: a network cut further than the conservative plan, said before the run starts."""

from collections.abc import Iterator, Sequence

from diagnostics.analyses.memory_demand import Demand
from diagnostics.language import listed, say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.thresholds import limits_of

CONSERVATIVE = "configs/deblur/vrt_spike_opt.yaml"
LIMITS = limits_of("CF108")
BLOCKS, WINDOW = LIMITS["blocks"], LIMITS["window"]
BEYOND_CONSERVATIVE = Pattern(
    code="CF108",
    name="beyond-conservative-plan",
    summary="The network is cut further than in the conservative plan ({what}): its loss of "
    "quality cannot be laid to one change.",
    docs="""
## What it measures
The blocks of MODEL.VRT_DEPTHS and MODEL.WINDOW_SIZE, against the conservative plan, for networks
of the guide's width.

## Why it matters
Speed that costs quality is found out at the end of a training. Step by step, each change shows
what it costs; all at once, they only show the sum.

## What to try
Train configs/deblur/vrt_spike_opt.yaml first and compare its validation, then go on.

## False alarms
Whoever has done so already. Narrow networks for trials are left alone.
""",
    limits=LIMITS,
)
_WIDTH, _NUM_DEPTHS = 96, 8
_FIRST = "Train {plan} first, compare its validation with the baseline's, then cut further."


def planned_cut_findings(demand: Demand) -> Iterator[Finding]:
    """Fewer blocks or a smaller window than the conservative plan has."""
    cuts = list(_cuts(demand))
    if not cuts:
        return
    yield BEYOND_CONSERVATIVE.finding(
        Severity.NOTE,
        {
            "what": listed(
                say("{metric} {value}", metric=cut.metric, value=cut.value) for cut in cuts
            )
        },
        cuts,
        [Advice(text=say(_FIRST, plan=CONSERVATIVE))],
    )


def _cuts(demand: Demand) -> Iterator[Evidence]:
    widths, depths = demand.setting("MODEL.CHANNELS_PER_SCALE"), demand.setting("MODEL.VRT_DEPTHS")
    if not isinstance(widths, Sequence) or min(widths, default=0) < _WIDTH:
        return
    if isinstance(depths, Sequence) and len(depths) == _NUM_DEPTHS and sum(depths) < BLOCKS.value:
        yield row("blocks", sum(depths), "count", BLOCKS, demand.config)
    window = demand.setting("MODEL.WINDOW_SIZE")
    if isinstance(window, int) and window < WINDOW.value:
        yield row("window", window, "count", WINDOW, demand.config)
