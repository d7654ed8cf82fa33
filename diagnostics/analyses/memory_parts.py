"""The parts of what a run needs, by resource: host memory, /dev/shm, GPU memory. Pure sums."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from diagnostics.analyses.memory_demand import Demand, ModelDemand

GIB = 1 << 30
_BATCHES_IN_USE = 2
"""The batch computed on, and the one fetched behind it."""


Basis = Literal["exact", "configured", "measured", "estimated", "assumed"]
"""`assumed` was measured once, on another machine or for other data."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a need. `basis` says how far to trust it."""

    name: str
    size_bytes: int
    basis: Basis


def host_parts(demand: Demand) -> tuple[Part, ...]:
    """Host memory of one machine at the peak, with validation's processes running."""
    ranks = demand.ranks
    parts = [
        *_process_parts(demand),
        *_loader_parts(demand),
        Part(name="batches waiting", size_bytes=_waiting_bytes(demand), basis="exact"),
        Part(name="frame cache", size_bytes=cache_bytes(demand), basis="configured"),
        Part(name="resource sampler", size_bytes=demand.sampler_bytes, basis="assumed"),
    ]
    if demand.device == "cpu":
        parts += [replace(p, size_bytes=ranks * p.size_bytes) for p in model_parts(demand.model)]
    return tuple(part for part in parts if part.size_bytes)


def _process_parts(demand: Demand) -> Iterator[Part]:
    """What trainers hold before any data; libraries are mapped by all, and counted once.

    Loading processes are forked: as long as nobody writes to a page, all share it. Of what the
    trainer changes afterwards, those of one fork together keep one old copy.
    """
    forks = [demand.loader.workers_per_rank, demand.loader.val_workers_per_rank]
    kept = demand.ranks * demand.old_pages_bytes * sum(count > 0 for count in forks)
    own = demand.ranks * demand.trainer_start_bytes
    measured = _measured(demand)
    basis: Basis = measured if demand.device == "cpu" else "estimated"
    yield Part(name="training processes", size_bytes=own, basis=basis)
    yield Part(name="libraries, counted once", size_bytes=demand.library_bytes, basis=basis)
    yield Part(name="launcher of the ranks", size_bytes=demand.launcher_bytes, basis=measured)
    yield Part(name="old pages that forks keep", size_bytes=kept, basis=measured)


def _measured(demand: Demand) -> Basis:
    return "assumed" if demand.are_sizes_assumed else "measured"


def _loader_parts(demand: Demand) -> tuple[Part, ...]:
    loader, ranks = demand.loader, demand.ranks
    workers, val_workers = loader.workers_per_rank, loader.val_workers_per_rank
    train = ranks * workers * (loader.worker_start_bytes + loader.train_scratch_bytes)
    val = ranks * val_workers * (loader.worker_start_bytes + loader.val_scratch_bytes)
    if not workers:  # the training process loads by itself, one split after the other
        train = ranks * max(loader.train_scratch_bytes, loader.val_scratch_bytes)
    return (
        Part(name="loader processes", size_bytes=train, basis=_measured(demand)),
        Part(name="validation's loader processes", size_bytes=val, basis=_measured(demand)),
    )


def _waiting_bytes(demand: Demand) -> int:
    """Batches that wait in shared memory or pinned, those in use, and one each worker writes."""
    loader = demand.loader
    waiting = loader.workers_per_rank * loader.train_prefetch + _BATCHES_IN_USE
    val_waiting = loader.val_workers_per_rank * loader.val_prefetch
    if loader.pinned_train_batch_bytes is None or loader.pinned_val_batch_bytes is None:
        train, val, writing = loader.train_batch_bytes, loader.val_batch_bytes, 0
    else:
        train, val = loader.pinned_train_batch_bytes, loader.pinned_val_batch_bytes
        writing = loader.workers_per_rank * loader.train_batch_bytes
    return demand.ranks * (waiting * train + val_waiting * val + writing)


def cache_bytes(demand: Demand) -> int:
    """What the cache will hold: its budget, which is the machine's, or less for smaller data."""
    if not demand.loader.use_cache:
        return 0
    return min(int(demand.loader.cache_gib * GIB), demand.data.decoded_train_bytes)


def shared_parts(demand: Demand) -> tuple[Part, ...]:
    """/dev/shm: finished batches wait there until the training process takes them, if anywhere."""
    loader, ranks = demand.loader, demand.ranks
    if loader.is_nameless:
        return ()
    workers, val_workers = loader.workers_per_rank, loader.val_workers_per_rank
    sizes = {
        "training batches": ranks * workers * loader.train_prefetch * loader.train_batch_bytes,
        "validation batches": ranks * val_workers * loader.val_prefetch * loader.val_batch_bytes,
    }
    return tuple(
        Part(name=name, size_bytes=size, basis="exact") for name, size in sizes.items() if size
    )


def gpu_parts(demand: Demand) -> tuple[Part, ...]:
    """Memory of one GPU."""
    return model_parts(demand.model)


def model_parts(model: ModelDemand) -> tuple[Part, ...]:
    """The network of one rank: weights and their companions exactly, the rest by its cost table."""
    parts = (
        Part(name="weights", size_bytes=model.weight_bytes, basis="exact"),
        Part(name="gradients", size_bytes=model.gradient_bytes, basis="exact"),
        Part(name="optimizer state", size_bytes=model.optimizer_bytes, basis="exact"),
        Part(
            name="low-precision weights",
            size_bytes=model.low_precision_weight_bytes,
            basis="estimated",
        ),
        Part(
            name="batch, activations, transients",
            size_bytes=model.working_bytes,
            basis="estimated",
        ),
        Part(
            name="allocator slack and runtime",
            size_bytes=model.overhead_bytes,
            basis="estimated",
        ),
    )
    return tuple(part for part in parts if part.size_bytes)
