"""Build the loaders of a run: data sets, samplers, workers, caches, and words about them."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader, Sampler

from vrtspike.data import lean
from vrtspike.data.clips import ClipSample, SpikeDeblurDataset
from vrtspike.data.contract import check_clips
from vrtspike.data.machine_cache import CacheJob, Gather, join_caches
from vrtspike.data.samplers import EpochSampler, ShardSampler
from vrtspike.data.settings import DataConfig, DataLoaderConfig
from vrtspike.data.workers import WorkerChoice, allowed_cores, resolve_workers
from vrtspike.errors import DataError
from vrtspike.profiling.loader_facts import LoaderFacts


@dataclass(frozen=True, kw_only=True)
class LoaderJob:
    """What the loaders must know about the run.

    `batch_size` is of one rank; `facts` hears how the training batches came to be; `gather` asks
    every rank, None if there is one only.
    """

    batch_size: int = 1
    val_batch_size: int = 1
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    local_ranks: int = 1
    cuda: bool = False
    facts: LoaderFacts | None = None
    gather: Gather | None = None


class ClipLoader(DataLoader[ClipSample]):
    """A DataLoader whose workers' data errors stay one line; `facts` hears of every fetch."""

    facts: LoaderFacts | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield batches; raises DataError with the worker's own words, without its traceback."""
        try:
            yield from self._watched(super().__iter__())
        except DataError as error:
            message = _last_message(str(error))
            # End the workers now. Left to the garbage collector (the frames of the error refer to
            # them), their queues are closed before they are told, and each is waited for 5 s.
            error.__traceback__ = None
            self._iterator = None
        else:
            return
        raise DataError(message)

    def _watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        return batches if self.facts is None else self.facts.fetches(batches)


def _last_message(text: str) -> str:
    """The message at the end of the traceback that a worker's error carries as its text."""
    return text.rsplit("DataError: ", 1)[-1].strip()


@dataclass(frozen=True)
class Loaders:
    """Everything a trainer needs to be fed; `notes` are lines for the log."""

    train: ClipLoader
    val: ClipLoader
    train_set: SpikeDeblurDataset
    val_set: SpikeDeblurDataset
    sampler: EpochSampler
    workers: WorkerChoice
    notes: tuple[str, ...]

    def start_epoch(self, epoch: int, batches_done: int = 0) -> None:
        """Set order and crops of an epoch, skipping batches that a stopped run already used.

        Call it before iterating over `train`.
        """
        self.train_set.set_epoch(epoch)
        self.sampler.set_epoch(epoch, batches_done * (self.train.batch_size or 1))


def build_loaders(data: DataConfig, loading: DataLoaderConfig, job: LoaderJob) -> Loaders:
    """Build training and validation loaders of one rank.

    Validation windows do not overlap (but for the last of a clip), and its frames are not cached.

    Raises:
        DataError: missing or broken data, or fewer samples than a batch.
    """
    train_set = SpikeDeblurDataset(data, data.train_split, training=True, seed=job.seed)
    val_set = SpikeDeblurDataset(data, data.val_split, training=False, stride=data.clip_len)
    sampler = EpochSampler(
        train_set.order_plan(), seed=job.seed, rank=job.rank, world_size=job.world_size
    )
    if loading.drop_last and sampler.samples_per_epoch < job.batch_size:
        raise DataError(
            f"{sampler.samples_per_epoch} training samples for each rank are less than "
            f"TRAIN.BATCH_SIZE {job.batch_size}, and DATALOADER.DROP_LAST leaves out what is left"
        )
    if data.hands_over_bytes(cuda=job.cuda):
        train_set.hand_over_bytes()
        val_set.hand_over_bytes()
    workers = resolve_workers(
        loading.total_workers, local_ranks=job.local_ranks, cores=allowed_cores()
    )
    notes = [
        *train_set.summary(),
        *val_set.summary(),
        *_checks(train_set, val_set),
        workers.explanation,
        *_order_note(data),
    ]
    if data.use_ram_cache:
        caches, line = join_caches(
            train_set.cache_keys(),
            CacheJob(
                machine_bytes=int(data.cache_size_gb * 2**30),
                workers=workers.per_rank,
                local_ranks=job.local_ranks,
                rank=job.rank,
                gather=job.gather,
                folder=None if data.cache_dir is None else Path(data.cache_dir),
            ),
        )
        train_set.use_cache(caches)
        notes.append(line)
    return Loaders(
        train=_train_loader(train_set, sampler, loading, job, workers.per_rank),
        val=_val_loader(val_set, loading, job, workers.per_rank),
        train_set=train_set,
        val_set=val_set,
        sampler=sampler,
        workers=workers,
        notes=tuple(notes),
    )


def _order_note(data: DataConfig) -> list[str]:
    if data.sample_order == "shuffled":
        return []
    return [
        f"SAMPLE_ORDER grouped: {data.group_samples} neighbouring samples of a clip come close "
        "together, so that their frames are still cached; batches resemble each other more"
    ]


def _train_loader(
    dataset: SpikeDeblurDataset,
    sampler: Sampler[int],
    loading: DataLoaderConfig,
    job: LoaderJob,
    workers: int,
) -> ClipLoader:
    collate: Callable[[list[Any]], Any] = lean.collate
    if job.facts is not None:
        dataset.use_clock(job.facts.clock)
        collate = job.facts.clock.collating(collate)
    loader = ClipLoader(
        dataset,
        batch_size=job.batch_size,
        sampler=sampler,
        collate_fn=collate,
        drop_last=loading.drop_last,
        pin_memory=loading.pin_memory and job.cuda,
        **_worker_options(
            workers, loading.train_prefetch_factor, persistent=loading.persistent_workers
        ),
    )
    loader.facts = job.facts
    return loader


def _val_loader(
    dataset: SpikeDeblurDataset, loading: DataLoaderConfig, job: LoaderJob, workers: int
) -> ClipLoader:
    """Half the workers: those of training are waiting beside them, and may hold their cores."""
    return ClipLoader(
        dataset,
        batch_size=job.val_batch_size,
        collate_fn=lean.collate,
        sampler=ShardSampler(len(dataset), rank=job.rank, world_size=job.world_size),
        pin_memory=loading.pin_memory and job.cuda,
        **_worker_options((workers + 1) // 2, loading.val_prefetch_factor, persistent=False),
    )


def _worker_options(workers: int, prefetch: int, *, persistent: bool) -> dict[str, Any]:
    """Options that DataLoader accepts only with workers, and a generator of its own.

    Without that generator every epoch would draw from PyTorch's global random numbers, and a
    resumed run would see others than an uninterrupted one.
    """
    options: dict[str, Any] = {"num_workers": workers, "generator": torch.Generator()}
    if workers:
        options["prefetch_factor"] = prefetch
        options["persistent_workers"] = persistent
        options["worker_init_fn"] = start_worker
        if "fork" in multiprocessing.get_all_start_methods():
            options["multiprocessing_context"] = "fork"
    return options


def start_worker(_worker_id: int) -> None:
    """Keep a worker to one core, and deaf to Ctrl-C: the trainer decides when it ends."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _checks(train_set: SpikeDeblurDataset, val_set: SpikeDeblurDataset) -> list[str]:
    """Check the data contract, and whether a clip is in both splits."""
    lines = []
    if not train_set.config.use_precomputed_voxels:
        lines.append(check_clips([*train_set.clips, *val_set.clips]).line())
    seen = {clip.frames[0].blur.resolve() for clip in train_set.clips if clip.frames}
    both = [c.name for c in val_set.clips if c.frames and c.frames[0].blur.resolve() in seen]
    if both:
        lines.append(
            f"WARNING: {len(both)} validation clips are also trained on, first: {both[0]}; "
            "validation figures will be too good"
        )
    return lines
