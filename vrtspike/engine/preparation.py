"""From an opened run to a trainer that is ready to go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vrtspike.config import Config
from vrtspike.counted import counted
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.loader import Loaders
from vrtspike.data.set_facts import set_facts
from vrtspike.engine import assembly, random_state
from vrtspike.engine.batch_stream import BatchStream
from vrtspike.engine.cache_facts import CacheFacts
from vrtspike.engine.checkpoint import Position
from vrtspike.engine.damage_ledger import DamageLedger, Telling
from vrtspike.engine.distributed import World
from vrtspike.engine.interrupts import StopRequest
from vrtspike.engine.learner import Learner
from vrtspike.engine.numerics import Reporting
from vrtspike.engine.precision import choose_precision
from vrtspike.engine.resume import Found, changed_keys
from vrtspike.engine.saving import (
    CheckpointSaver,
    check_folder,
    continue_from,
    restore_random_state,
)
from vrtspike.engine.trainer import Crew, Schedule, Trainer
from vrtspike.model.recomputation import set_checkpoint_context
from vrtspike.profiling.loader_facts import LoaderFacts
from vrtspike.profiling.recorder import Recorder


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A run whose log and record are open.

    `mapping` is the configuration with the YAML's own keys; `expect_steps` hears how many steps
    the whole training has, once that is known; `found` is what to continue from; `loading` is the
    part of the recorder that watches the loader.
    """

    config: Config
    mapping: Mapping[str, Any]
    world: World
    run_id: str
    checkpoint_dir: Path
    recorder: Recorder
    loading: LoaderFacts
    say: Callable[[str], None]
    expect_steps: Callable[[int], None]
    stop: StopRequest
    found: Found | None


def prepare(run: OpenRun) -> Trainer:
    """Load the data set, build or continue the model, and put the trainer together.

    Raises:
        VRTSpikeError: data, model, checkpoint or configuration do not allow it.
    """
    config, world = run.config, run.world
    if world.is_main:
        check_folder(run.checkpoint_dir)
    with run.recorder.span("dataset_creation") as span:
        loaders = assembly.make_loaders(config, world, run.loading)
        span.values.update(train_samples=len(loaders.train_set), val_samples=len(loaders.val_set))
    run.recorder.event("worker_plan", **loaders.worker_facts())
    for note in loaders.notes:
        run.say(note if note.startswith("[") else f"[data] {note}")
    source = assembly.LoaderSource(loaders)
    schedule = assembly.make_schedule(config, len(source))
    run.expect_steps(schedule.total_steps)
    learner = _make_learner(run)
    _say_plan(run, learner, schedule, len(source))
    position = _position(run)
    _say_data_set(run, loaders, len(source), position)
    if position.step >= schedule.total_steps:
        run.say(
            f"[train] nothing to do: step {position.step} is the last of the schedule. "
            f"To go on, raise TRAIN.EPOCHS above {config.train.epochs}"
        )
    damage, left_out = _ledgers(run, loaders, position)
    crew = Crew(
        world=world,
        stream=BatchStream(source, position.epoch, position.micro_batch),
        recorder=run.recorder,
        loading=run.loading,
        guard=assembly.make_guard(learner, world, Reporting(run.say, run.recorder.event), damage),
        saver=_make_saver(run, learner),
        say=run.say,
        stop=run.stop,
        validator=assembly.make_validator(config, learner, loaders, world, left_out, run.stop),
        damage=damage,
        cache=_cache_facts(run, loaders.train_set),
    )
    trainer = Trainer(learner, crew, schedule, position)
    _start_random_numbers(run)
    return trainer


def _make_learner(run: OpenRun) -> Learner:
    """Weights are loaded before the model is compiled and wrapped; names stay the bare model's."""
    config, world = run.config, run.world
    if world.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    precision = choose_precision(config.train, world.device)
    model = assembly.make_model(config, world.device, trained=run.found is not None)
    learner = assembly.make_learner(config, model, world, precision)
    if run.found is not None:
        continue_from(run.found, learner, run.say)
    run.recorder.observe(model, assembly.stage_paths(config))
    if not config.train.compile_model:  # a compiled stage hides what it recomputes
        set_checkpoint_context(model, run.recorder.checkpoint_context)
    return replace(learner, network=assembly.make_network(config, model, world))


def _position(run: OpenRun) -> Position:
    """Where to go on; a position is kept in clips, so it fits another batch size or rank count."""
    clips = run.config.train.batch_size * run.world.size
    if run.found is None:
        return Position(clips=clips)
    return run.found.checkpoint.position.with_clips(clips)


def _say_data_set(run: OpenRun, loaders: Loaders, per_epoch: int, position: Position) -> None:
    """What the data set holds, and where in an epoch this run begins."""
    run.recorder.event(
        "data_set",
        **set_facts(loaders.train_set),
        micro_batches_per_epoch=per_epoch,
        micro_batches_per_step=run.config.train.gradient_accumulation_steps,
        first_epoch=position.epoch,
        first_micro_batch=position.micro_batch,
    )


def _ledgers(
    run: OpenRun, loaders: Loaders, position: Position
) -> tuple[DamageLedger | None, DamageLedger | None]:
    """Of the training split and of validation; rank 0 goes on with what was counted before."""
    telling = Telling(run.say, run.recorder.event)
    mine = position if run.world.is_main else replace(position, damaged=0)
    samples = loaders.sampler.samples_per_epoch * run.world.size
    training = assembly.make_ledger(run.config, loaders.train_set, samples, telling, mine)
    val_set = loaders.val_set
    none = replace(position, damaged=0)
    return training, assembly.make_ledger(run.config, val_set, len(val_set), telling, none)


def _make_saver(run: OpenRun, learner: Learner) -> CheckpointSaver:
    return CheckpointSaver(
        folder=run.checkpoint_dir,
        run_id=run.run_id,
        config=run.mapping,
        world=run.world,
        learner=learner,
        say=run.say,
        best_psnr_db=None if run.found is None else run.found.checkpoint.best_psnr_db,
    )


def _cache_facts(run: OpenRun, train_set: SpikeDeblurDataset) -> CacheFacts:
    owner = type(train_set).__name__
    return CacheFacts(
        read=train_set.cache_stats,
        trouble=train_set.cache_trouble,
        owner=owner,
        recorder=run.recorder,
        say=run.say,
    )


def _start_random_numbers(run: OpenRun) -> None:
    """Last of all, so that nothing before the first step draws from them."""
    random_state.seed_everything(run.config.seed, run.world.rank)
    if run.found is not None:
        restore_random_state(run.found, run.world, run.say)


def _say_plan(run: OpenRun, learner: Learner, schedule: Schedule, per_epoch: int) -> None:
    train, world = run.config.train, run.world
    run.say(learner.precision.note)
    if world.device.type == "cuda":
        run.say("[train] TF32 for float32 matrix products where the GPU has it, cuDNN benchmark on")
    weights = sum(parameter.numel() for parameter in learner.model.parameters())
    run.say(
        f"[train] {weights / 1e6:.2f} M parameters on {world.size} x {world.device.type}; "
        f"{counted(schedule.total_steps, 'step')} of {counted(train.batch_size, 'clip')} x "
        f"{counted(world.size, 'rank')} x "
        f"{counted(train.gradient_accumulation_steps, 'micro-batch', 'micro-batches')}; "
        f"{counted(per_epoch, 'micro-batch', 'micro-batches')} an epoch"
    )
    if train.sched.warmup_steps >= schedule.total_steps:
        run.say(
            f"[train] WARNING: TRAIN.SCHED.WARMUP_STEPS={train.sched.warmup_steps} is not below "
            f"the {counted(schedule.total_steps, 'step')} of the run: the learning rate never "
            "reaches LR"
        )
    for change in [] if run.found is None else changed_keys(run.found, run.mapping):
        run.say(f"[resume] changed since the checkpoint: {change}")
