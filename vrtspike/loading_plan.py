"""How a run should load its data on one machine, as plain data; needs no PyTorch."""

from dataclasses import asdict
from typing import Any

from vrtspike.config import Config
from vrtspike.data.loading_need import LoadingNeed
from vrtspike.data.workers import WorkerChoice, resolve_workers
from vrtspike.measured_costs import MeasuredCosts


def worker_choice(config: Config, ranks: int, cores: int, known: MeasuredCosts) -> WorkerChoice:
    """The loading processes of each rank, as the trainer would choose them."""
    return resolve_workers(
        config.dataloader.total_workers,
        local_ranks=ranks,
        cores=cores,
        need=_need(config, known),
    )


def loading_plan(config: Config, ranks: int, cores: int, known: MeasuredCosts) -> dict[str, Any]:
    """What loading has to keep up with, and what that takes.

    `workers_needed_per_rank` and `prefetch_needed` are None where `reason` says why; `fed_ms` is
    the shortest step that the configured processes keep up with.
    """
    need, choice = _need(config, known), worker_choice(config, ranks, cores, known)
    return {
        "sample": None if need.cost is None else _sample(need),
        "step_ms": None if need.step is None else need.step.ms,
        "step_source": None if need.step is None else need.step.source,
        "samples_per_step": need.samples_per_step,
        "workers_needed_per_rank": choice.needed,
        "workers_limit_per_rank": choice.limit,
        "guide_workers_per_rank": choice.guide,
        "prefetch_needed": need.prefetch(choice.per_rank),
        "fed_ms": need.fed_ms(choice.per_rank, cores / ranks),
        "threads_per_worker": 1,
        "reason": need.reason_unknown(),
    }


def _sample(need: LoadingNeed) -> dict[str, Any]:
    assert need.cost is not None
    return {**asdict(need.cost), "cached_ms": need.cost.cached_ms()}


def _need(config: Config, known: MeasuredCosts) -> LoadingNeed:
    train = config.train
    return LoadingNeed(
        samples_per_step=train.batch_size * train.gradient_accumulation_steps,
        batch_size=train.batch_size,
        cost=known.cost,
        cost_unknown=known.cost_unknown,
        step=known.step,
        step_unknown=known.step_unknown,
    )
