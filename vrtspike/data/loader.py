"""Build the loaders of a run: data sets, samplers, workers, caches, and words about them."""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from vrtspike.counted import counted_with_verb
from vrtspike.data import lean
from vrtspike.data.cache_room import cache_room
from vrtspike.data.clips import ClipSample, SpikeDeblurDataset
from vrtspike.data.contract import check_clips
from vrtspike.data.free_heap import give_back_free_heap
from vrtspike.data.hand_over import tell_of_hand_over
from vrtspike.data.loading_faults import explain_start
from vrtspike.data.loading_need import LoadingNeed, StepTime
from vrtspike.data.machine_cache import CacheJob, Gather, join_caches
from vrtspike.data.open_files import make_room_for_files
from vrtspike.data.orphans import Parent, end_with
from vrtspike.data.patient_batches import TICK_S, PatientBatches
from vrtspike.data.reading_board import ReadingBoard
from vrtspike.data.reads import tell
from vrtspike.data.sample_timing import keep_to_one_thread, time_samples
from vrtspike.data.samplers import EpochSampler, ShardSampler
from vrtspike.data.settings import DataConfig, DataLoaderConfig
from vrtspike.data.terminations import (
    LoadingContext,
    heed_parent_only,
    terminations_held,
)
from vrtspike.data.workers import WorkerChoice, allowed_cores, resolve_workers
from vrtspike.errors import DataError
from vrtspike.profiling.loader_facts import LoaderFacts


@dataclass(frozen=True, kw_only=True)
class LoaderJob:
    """What the loaders must know about the run.

    `batch_size` is of one rank; `facts` hears how the training batches came to be; `gather` asks
    every rank, None if there is one only. `samples_per_step` are those of one rank's optimizer
    step, `step` how long one takes, where that is known, else `step_unknown`.
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
    samples_per_step: int = 1
    step: StepTime | None = None
    step_unknown: str = "no step time is known"


class ClipLoader(DataLoader[ClipSample]):
    """A DataLoader whose workers' errors stay one line; `facts` hears of every fetch.

    `limit_s` is how long a batch may take, None for ever; `board` knows what is read meanwhile.
    """

    facts: LoaderFacts | None = None
    board: ReadingBoard | None = None
    limit_s: float | None = None

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield batches.

        Raises:
            DataError: with the worker's own words, without its traceback; or what ended the
                loading from outside.
        """
        batches: PatientBatches | None = None
        if self.board is not None:
            self.board.parent = Parent.here()
            if not self.num_workers:
                tell(self.board.reading)
        if self.num_workers and self._iterator is None:  # now they are forked
            give_back_free_heap()
        try:
            tick_s = self.timeout or TICK_S
            with terminations_held():  # processes may be forked
                made = super().__iter__()
            batches = PatientBatches(made, self.board, self.limit_s, tick_s)
            yield from self._watched(batches)
        except (DataError, RuntimeError, OSError, EOFError) as error:
            if batches is None and self._iterator is not None:
                # Processes of the epoch before, one of which died before it heard of this one.
                batches = PatientBatches(self._iterator, self.board, self.limit_s)
            explained = _explain(error, batches)
            if explained is None:
                raise
            # End the workers now. Left to the garbage collector (the frames of the error refer to
            # them), their queues are closed before they are told, and each is waited for 5 s.
            with _half_made_in_silence():
                error.__traceback__ = None
                self._iterator = batches = None
        else:
            return
        raise explained

    def _watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        return batches if self.facts is None else self.facts.fetches(batches)


@contextlib.contextmanager
def _half_made_in_silence() -> Iterator[None]:
    """PyTorch's iterator whose making failed complains of what it lacks when it goes."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook


def _explain(error: Exception, batches: PatientBatches | None) -> DataError | None:
    if isinstance(error, DataError):
        return type(error)(_last_message(error))
    return explain_start(error) if batches is None else batches.explain(error)


def _last_message(error: DataError) -> str:
    """The message at the end of the traceback that a worker's error carries as its text."""
    return str(error.args[0]).rsplit(f"{type(error).__name__}: ", 1)[-1].strip()


@dataclass(frozen=True)
class Loaders:
    """Everything a trainer needs to be fed; `notes` are lines for the log."""

    train: ClipLoader
    val: ClipLoader
    train_set: SpikeDeblurDataset
    val_set: SpikeDeblurDataset
    sampler: EpochSampler
    workers: WorkerChoice
    need: LoadingNeed
    notes: tuple[str, ...]

    def worker_facts(self) -> dict[str, float | int | str | None]:
        """How the number of workers came about, and what decided it; None is not known."""
        need, choice = self.need, self.workers
        cost = need.cost
        parts = {} if cost is None else cost.part_ms
        return {
            "per_rank": choice.per_rank,
            "worker_rule": choice.explanation,
            "needed_per_rank": choice.needed,
            "guide_per_rank": choice.guide,
            "limit_per_rank": choice.limit,
            "samples_timed": None if cost is None else cost.samples,
            "sample_ms": None if cost is None else cost.made_ms,
            "sample_cpu_ms": None if cost is None else cost.cpu_ms,
            "slowest_sample_ms": None if cost is None else cost.slowest_ms,
            "timing_ms": None if cost is None else cost.spent_ms,
            "step_ms": None if need.step is None else need.step.ms,
            "samples_per_step": need.samples_per_step,
            "reason": need.reason_unknown(),
            **{f"part_{name}_ms": ms for name, ms in parts.items()},
        }

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
    need = _loading_need(train_set, loading, job)
    workers = resolve_workers(
        loading.total_workers, local_ranks=job.local_ranks, cores=allowed_cores(), need=need
    )
    notes = [
        *train_set.summary(),
        *val_set.summary(),
        *_checks(train_set, val_set),
        workers.explanation,
        *_order_note(data),
    ]
    files = make_room_for_files(workers.per_rank, loading.train_prefetch_factor)
    notes += [] if files is None else [files]
    if data.use_ram_cache and not data.fills_cache:
        notes.append("USE_RAM_CACHE: nothing is kept in it, since the fast store holds everything")
    if data.fills_cache:
        folder = None if data.cache_dir is None else Path(data.cache_dir)
        room = cache_room(data.cache_size_gb, folder, job.gather)
        caches, line = join_caches(
            train_set.cache_keys(),
            CacheJob(
                machine_bytes=room.machine_bytes,
                workers=workers.per_rank,
                local_ranks=job.local_ranks,
                rank=job.rank,
                gather=job.gather,
                folder=folder,
            ),
        )
        train_set.use_cache(caches)
        notes += [*room.notes, line]
    return Loaders(
        train=_train_loader(train_set, sampler, loading, job, workers.per_rank),
        val=_val_loader(val_set, loading, job, workers.per_rank),
        train_set=train_set,
        val_set=val_set,
        sampler=sampler,
        workers=workers,
        need=need,
        notes=tuple(notes),
    )


def _loading_need(
    train_set: SpikeDeblurDataset, loading: DataLoaderConfig, job: LoaderJob
) -> LoadingNeed:
    """Rank 0 times a few samples where the number of workers is to follow from them."""
    cost, unknown = None, "samples are timed for DATALOADER.TOTAL_WORKERS auto only"
    if loading.total_workers == "auto":
        measured = time_samples(train_set) if job.rank == 0 else None
        gathered = [measured] if job.gather is None else job.gather(measured)
        cost, unknown = gathered[0] or (None, "rank 0 timed no sample")
    return LoadingNeed(
        samples_per_step=job.samples_per_step,
        batch_size=job.batch_size,
        cost=cost,
        cost_unknown=unknown,
        step=job.step,
        step_unknown=job.step_unknown,
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
    board = ReadingBoard(workers, loading.batch_timeout_s)
    loader = ClipLoader(
        dataset,
        batch_size=job.batch_size,
        sampler=sampler,
        collate_fn=collate,
        drop_last=loading.drop_last,
        pin_memory=loading.pin_memory and job.cuda,
        **_worker_options(
            board, loading.train_prefetch_factor, persistent=loading.persistent_workers
        ),
    )
    loader.facts = job.facts
    return _watched(loader, loading, board)


def _val_loader(
    dataset: SpikeDeblurDataset, loading: DataLoaderConfig, job: LoaderJob, workers: int
) -> ClipLoader:
    """Half the workers: those of training are waiting beside them, and may hold their cores."""
    board = ReadingBoard((workers + 1) // 2, loading.batch_timeout_s)
    loader = ClipLoader(
        dataset,
        batch_size=job.val_batch_size,
        collate_fn=lean.collate,
        sampler=ShardSampler(len(dataset), rank=job.rank, world_size=job.world_size),
        pin_memory=loading.pin_memory and job.cuda,
        **_worker_options(board, loading.val_prefetch_factor, persistent=False),
    )
    return _watched(loader, loading, board)


def _watched(loader: ClipLoader, loading: DataLoaderConfig, board: ReadingBoard) -> ClipLoader:
    """With an end to the waiting, and a board that says what for."""
    loader.limit_s = loading.batch_timeout_s
    loader.board = board
    return loader


def _worker_options(board: ReadingBoard, prefetch: int, *, persistent: bool) -> dict[str, Any]:
    """Options that DataLoader accepts only with workers, and a generator of its own.

    Without that generator every epoch would draw from PyTorch's global random numbers, and a
    resumed run would see others than an uninterrupted one.
    """
    options: dict[str, Any] = {"num_workers": board.workers, "generator": torch.Generator()}
    if board.workers:
        options["prefetch_factor"] = prefetch
        options["persistent_workers"] = persistent
        options["worker_init_fn"] = partial(start_worker, board=board)
        options["timeout"] = TICK_S
        if "fork" in multiprocessing.get_all_start_methods():
            options["multiprocessing_context"] = LoadingContext()
    return options


def start_worker(_worker_id: int, board: ReadingBoard | None = None) -> None:
    """Keep a worker to one core, and deaf to all but its trainer, who decides when it ends.

    With a board it tells there what it reads, and ends with the process that started it.
    """
    heed_parent_only()
    if board is not None:
        tell(board.reading)
        tell_of_hand_over(board)
        if board.parent is not None:
            end_with(board.parent)
    keep_to_one_thread()


def _checks(train_set: SpikeDeblurDataset, val_set: SpikeDeblurDataset) -> list[str]:
    """Check the data contract, and whether a clip is in both splits."""
    lines = []
    if not train_set.config.use_precomputed_voxels:
        lines += _check_contract(train_set, val_set)
    # Unlike `Path.resolve` that takes a loop of links as it stands.
    seen = {os.path.realpath(clip.frames[0].blur) for clip in train_set.clips if clip.frames}
    both = [
        c.name for c in val_set.clips if c.frames and os.path.realpath(c.frames[0].blur) in seen
    ]
    if both:
        lines.append(
            f"WARNING: {counted_with_verb(len(both), 'validation clip')} also trained on, "
            f"first: {both[0]}; "
            "validation figures will be too good"
        )
    return lines


def _check_contract(train_set: SpikeDeblurDataset, val_set: SpikeDeblurDataset) -> list[str]:
    """Check the spike files; those that are damaged are kept out, or end the run."""
    clips, data = [*train_set.clips, *val_set.clips], train_set.config
    if data.bad_samples == "stop":
        return [check_clips(clips).line()]
    damaged: dict[Path, str] = {}
    facts = check_clips(clips, damaged)
    if not damaged:
        return [facts.line()]
    first = next(iter(damaged.values()))
    if len(damaged) > data.max_bad_share * facts.files:
        raise DataError(
            f"{len(damaged)} of {facts.files} spike files are damaged, more than "
            f"DATA.MAX_BAD_SHARE={data.max_bad_share:g} allows; first: {first}"
        )
    for each in (train_set, val_set):
        each.damage.condemned.update(damaged)
    return [
        facts.line(),
        f"WARNING: {len(damaged)} of {facts.files} spike files are damaged, and samples with them "
        f"will be skipped; first: {first}",
    ]
