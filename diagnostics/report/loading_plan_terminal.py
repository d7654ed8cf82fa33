"""What loading will cost and how many processes that takes, for a terminal."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding

from diagnostics.analyses.loading_plan import LoadingPlan, SamplePrice
from diagnostics.analyses.memory_demand import Demand
from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.console import add_row, heading, indented
from diagnostics.report.console import table as make_table
from diagnostics.report.loading_words import part_label


def loading_plan_section(demand: Demand) -> Iterator[RenderableType]:
    """The price of a sample by part, and the processes that keep up with the steps."""
    plan = demand.loading_plan
    if plan is None:
        return
    timed = "Loading, by samples timed on this machine"
    yield heading("Loading" if plan.sample is None else timed)
    if plan.sample is not None:
        yield from _price(plan.sample)
    if plan.reason is not None:
        yield indented(
            say("How many processes keep up is not known: {reason}.", reason=plan.reason)
        )
    if plan.fed_ms is not None:
        yield indented(_supply(plan, demand))
    if plan.workers_needed_per_rank is not None:
        yield indented(_needed(plan, plan.workers_needed_per_rank))


def _price(price: SamplePrice) -> Iterator[RenderableType]:
    rows = make_table("part", "ms a sample")
    for name, part_ms in price.parts:
        add_row(rows, part_label(name), units.ms(part_ms))
    add_row(rows, "together", units.ms(price.made_ms), style="bold")
    yield Padding(rows, (0, 0, 0, 2))
    yield indented(
        say(
            "{samples} samples timed in {spent_ms} ms: {cpu_ms} ms of work on a core each, the "
            "slowest {slowest_ms} ms; with its frames in the cache about {cached_ms} ms.",
            samples=price.samples,
            spent_ms=units.ms(price.spent_ms),
            cpu_ms=units.ms(price.cpu_ms),
            slowest_ms=units.ms(price.slowest_ms),
            cached_ms=units.ms(price.cached_ms),
        )
    )


def _supply(plan: LoadingPlan, demand: Demand) -> str:
    return say(
        "With {threads} thread(s) each, {workers} process(es) for each rank (keeps|keep) up with "
        "steps of {fed_ms} ms or longer ({samples} sample(s) a step); a cache shortens that.",
        workers=demand.loader.workers_per_rank,
        threads=plan.threads_per_worker,
        fed_ms=units.ms(plan.fed_ms),
        samples=plan.samples_per_step,
    )


def _needed(plan: LoadingPlan, needed: int) -> str:
    return say(
        "A step takes {step_ms} ms without its wait for data ({source}): {needed} process(es) "
        "(keeps|keep) up, with {prefetch} batch(es) ready in each; the cores allow "
        "{limit}, the guide's rule gives {guide}.",
        step_ms=units.ms(plan.step_ms),
        source=plan.step_source,
        needed=needed,
        prefetch=plan.prefetch_needed,
        limit=plan.workers_limit_per_rank,
        guide=plan.guide_workers_per_rank,
    )
