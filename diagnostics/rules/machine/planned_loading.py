"""CF109: loading processes that cannot keep up with the steps, by samples that were timed."""

from collections.abc import Iterator

from diagnostics.analyses.loading_plan import LoadingPlan, SamplePrice
from diagnostics.analyses.memory_demand import Demand, SettingChange
from diagnostics.language import say
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Evidence, Finding, Severity
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.machine.setting_advice import advise_to_set
from diagnostics.rules.thresholds import limits_of

_LIMITS = limits_of("CF109")
SLOWER = _LIMITS["slower"]
LOADING_SLOWER = Pattern(
    code="CF109",
    name="loading-planned-slower-than-steps",
    summary="{workers} loader process(es) for each rank (makes|make) a step's samples in "
    "{fed_ms:.0f} ms, a step takes {step_ms:.0f} ms: the rest would be waited for.",
    docs="""
## What it measures
The time to make a sample, from some of the real data set timed on this machine, nothing of them
cached, times the samples of a step, shared among the planned loader processes; against a step
without its wait for data, from the newest run of the same network or from `--step-ms`.

## Why it matters
What loading takes longer than a step, every step waits, however fast the GPU is.

## What to try
As many processes as keep up, where the cores allow it. Otherwise a cache, or data that is stored
decoded, so that a sample costs less. A sample that mostly waits (a slow disk, a network) needs no
cores: the cache comes first.

## False alarms
With a cache that holds the data only the first epoch waits. Samples that other programs slowed down
while they were timed look dearer than they are; waits for a core are left out.
""",
    limits=_LIMITS,
)
_MORE = "Use as many loader processes as keep up."
_CHEAPER = (
    "More processes do not help on {cores} core(s): make samples cheaper. Of {made_ms:.1f} ms, "
    "{cached_ms:.1f} ms are left with a cache that holds the frames (DATA.USE_RAM_CACHE)."
)

_WAITS = (
    "A sample computes for {share:.0%} of its {made_ms:.1f} ms and waits for the rest (a disk, a "
    "network). Read each frame once: {cached_ms:.1f} ms are left with a cache that holds the "
    "frames (DATA.USE_RAM_CACHE). The first epoch still waits; files on a faster disk shorten that."
)
_MOSTLY_WAITS = 0.5
"""Of making a sample: what computes less is not bought with cores. As in rule DL001."""


def planned_loading_findings(demand: Demand, cores: int | None) -> Iterator[Finding]:
    """Where both prices are known and the planned processes are too slow."""
    plan = demand.loading_plan
    if plan is None or plan.fed_ms is None or not plan.step_ms or plan.sample is None:
        return
    slower = plan.fed_ms / plan.step_ms
    if slower <= SLOWER.value or plan.workers_needed_per_rank is None:
        return
    yield LOADING_SLOWER.finding(
        Severity.WARN,
        {
            "workers": demand.loader.workers_per_rank,
            "fed_ms": plan.fed_ms,
            "step_ms": plan.step_ms,
        },
        list(_evidence(demand, plan, plan.sample, slower)),
        _advice(demand, plan, plan.sample, cores),
    )


def _evidence(
    demand: Demand, plan: LoadingPlan, sample: SamplePrice, slower: float
) -> Iterator[Evidence]:
    yield row("loading / step", slower, "count", SLOWER, demand.config)
    yield row("a sample", sample.made_ms, "ms", None, say("{n} timed", n=sample.samples))
    yield row("a step", plan.step_ms, "ms", None, plan.step_source or demand.config)


def _advice(
    demand: Demand, plan: LoadingPlan, sample: SamplePrice, cores: int | None
) -> list[Advice]:
    if sample.cpu_ms < _MOSTLY_WAITS * sample.made_ms:
        share = sample.cpu_ms / sample.made_ms
        text = say(_WAITS, share=share, made_ms=sample.made_ms, cached_ms=sample.cached_ms)
        return [_with_cache(demand, text)]
    most = min(plan.workers_needed_per_rank or 1, plan.workers_limit_per_rank)
    if most > demand.loader.workers_per_rank:
        change = SettingChange(
            key="DATALOADER.TOTAL_WORKERS",
            current=demand.loader.workers_setting,
            proposed=most * demand.ranks,
        )
        return [advise_to_set(demand.config, change, _MORE)]
    count = cores or demand.ranks
    text = say(_CHEAPER, cores=count, made_ms=sample.made_ms, cached_ms=sample.cached_ms)
    return [_with_cache(demand, text)]


def _with_cache(demand: Demand, text: str) -> Advice:
    if demand.loader.use_cache:
        return Advice(text=text)
    change = SettingChange(key="DATA.USE_RAM_CACHE", current=False, proposed=True)
    return advise_to_set(demand.config, change, text)
