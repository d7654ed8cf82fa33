"""Putting the parts of a run together from its configuration."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vrtspike.config import Config, config_to_mapping
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.loader import LoaderJob, Loaders, build_loaders
from vrtspike.data.loading_need import StepTime
from vrtspike.engine import random_state
from vrtspike.engine.batch_stream import Batch
from vrtspike.engine.checkpoint import Position
from vrtspike.engine.clip_model import ClipRestorer, least_side
from vrtspike.engine.compilation import compile_stages
from vrtspike.engine.damage_ledger import DamageLedger, Telling
from vrtspike.engine.distillation import Teacher
from vrtspike.engine.distributed import World
from vrtspike.engine.earlier_steps import Where, earlier_step_time
from vrtspike.engine.interrupts import StopRequest
from vrtspike.engine.learner import Learner
from vrtspike.engine.losses import TrainingLoss
from vrtspike.engine.numerics import (
    NumericsGuard,
    Reporting,
    SideReader,
    first_bad_tensor,
    read_now,
)
from vrtspike.engine.optim import build_optimizer, learning_rate
from vrtspike.engine.perceptual import load_perceptual
from vrtspike.engine.precision import Precision
from vrtspike.engine.stored_model import new_model
from vrtspike.engine.trainer import Schedule
from vrtspike.engine.validation import Validator
from vrtspike.errors import ConfigError
from vrtspike.model.stages import stage_submodules
from vrtspike.profiling.environment import describe_device
from vrtspike.profiling.gradient_exchange import average_gradients
from vrtspike.profiling.loader_facts import LoaderFacts


@dataclass(frozen=True)
class LoaderSource:
    """The training loader as a source of epochs."""

    loaders: Loaders

    def __len__(self) -> int:
        samples = self.loaders.sampler.samples_per_epoch
        batch_size = self.loaders.train.batch_size or 1
        return samples // batch_size if self.loaders.train.drop_last else -(-samples // batch_size)

    def start(self, epoch: int, micro_batch: int) -> Iterator[Batch]:
        """The micro-batches of an epoch from the given one on."""
        self.loaders.start_epoch(epoch, micro_batch)
        return iter(self.loaders.train)


def make_loaders(config: Config, world: World, facts: LoaderFacts | None = None) -> Loaders:
    """The loaders of this rank; `facts` hears how the training batches came to be."""
    step, unknown = _step_time(config, world)
    job = LoaderJob(
        batch_size=config.train.batch_size,
        val_batch_size=config.train.val_batch_size,
        seed=config.seed,
        rank=world.rank,
        world_size=world.size,
        local_ranks=world.local_size,
        cuda=world.device.type == "cuda",
        facts=facts,
        gather=world.gather,
        samples_per_step=config.train.batch_size * config.train.gradient_accumulation_steps,
        step=step,
        step_unknown=unknown,
    )
    return build_loaders(config.data, config.dataloader, job)


def _step_time(config: Config, world: World) -> tuple[StepTime | None, str]:
    """How long a step will take, where an earlier run tells; asked only where it decides."""
    if config.dataloader.total_workers != "auto":
        return None, "the number of workers is given"
    found = None
    if world.is_main:
        device = describe_device(world.device)
        where = Where(
            device=world.device.type, ranks=world.size, device_name=str(device.get("name"))
        )
        folder = Path(config.log.profiles_dir)
        found = earlier_step_time(folder, config_to_mapping(config), where)
    return world.share(found) or (None, "rank 0 found no earlier run")


def make_model(config: Config, device: torch.device, *, trained: bool) -> nn.Module:
    """A model that is the same on every rank; a `trained` one gets its weights afterwards."""
    random_state.seed_everything(config.seed)
    return new_model(config, trained=trained).to(device)


def stage_paths(config: Config) -> dict[str, tuple[str, ...]]:
    """The stages of the configured model and their submodules."""
    return stage_submodules(config.model.use_spike, config.model.fuse.scales)


def make_learner(config: Config, model: nn.Module, world: World, precision: Precision) -> Learner:
    """The model with what it learns by; not yet compiled or wrapped."""
    return Learner(
        model=model,
        network=model,
        optimizer=build_optimizer(model.parameters(), config.train.optim),
        precision=precision,
        loss=_make_loss(config, world.device),
        teacher=_make_teacher(config, world.device),
        use_spike=config.model.use_spike,
        accumulation=config.train.gradient_accumulation_steps,
        max_grad_norm=config.train.max_grad_norm,
    )


def _make_loss(config: Config, device: torch.device) -> TrainingLoss:
    settings = config.loss.vgg_perceptual
    perceptual = None
    if settings.weight > 0 and settings.weights_path is not None:
        perceptual = load_perceptual(settings.layers, Path(settings.weights_path)).to(device)
    distillation = config.train.distillation
    weight = distillation.weight if distillation.teacher_checkpoint else 0.0
    return TrainingLoss(config.loss, perceptual=perceptual, teacher_weight=weight)


def _make_teacher(config: Config, device: torch.device) -> Teacher | None:
    path = config.train.distillation.teacher_checkpoint
    return None if path is None else Teacher(Path(path), config, device)


_NOT_COMPILED = ("flow", "vrt.input", "vrt.output")
"""Little to gain; and PyTorch 2.13 compiles the backward of the flow's replicate padding wrongly:
the strides it expects of `replication_pad2d_backward` are not those that it gets."""


def make_network(config: Config, model: nn.Module, world: World) -> nn.Module:
    """The model as the loop calls it: its stages compiled, wrapped where ranks exchange gradients.

    Buffers never change, so ranks need not exchange them. Where the world has a watch, it watches
    the exchange of gradients, which stays bit for bit what DDP does by itself.
    """
    if config.train.compile_model:
        stages = stage_paths(config).items()
        chosen = [path for name, paths in stages if name not in _NOT_COMPILED for path in paths]
        compile_stages(model, chosen)
    if world.size == 1:
        return model
    network = DistributedDataParallel(
        model,
        device_ids=[world.device] if world.device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **_without_buffer_exchange(),
    )
    if world.watch is not None:
        network.register_comm_hook(None, world.watch.timed(average_gradients))
    return network


def _without_buffer_exchange() -> dict[str, Any]:
    """The switch that leaves buffers alone; PyTorch 2.13 renamed it and warns of the old name."""
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    new, old = "forward_sync_buffers", "broadcast_buffers"
    return {new if new in known else old: False}


def make_guard(
    learner: Learner, world: World, reporting: Reporting, damage: DamageLedger | None = None
) -> NumericsGuard:
    """The judge of every step's figures."""
    on_gpu = world.device.type == "cuda"
    return NumericsGuard(
        world,
        reporting,
        partial(_diagnose, learner),
        fp16=learner.precision.is_fp16,
        take=SideReader(world.device).take if on_gpu else read_now,
        lag=1 if on_gpu else 0,
        hear_damage=None if damage is None else damage.judge,
    )


def _diagnose(learner: Learner, batches: list[Batch]) -> str | None:
    return first_bad_tensor(learner.model, batches, learner.loss_of)


def make_ledger(
    config: Config, dataset: SpikeDeblurDataset, samples: int, telling: Telling, position: Position
) -> DamageLedger | None:
    """Counts the damaged samples of a split; None where the first of them ends the run."""
    data = config.data
    if data.bad_samples == "stop":
        return None
    return DamageLedger(
        dataset.split,
        samples,
        data.max_bad_share,
        telling,
        count=position.damaged,
        epoch=position.epoch,
    )


def make_validator(
    config: Config,
    learner: Learner,
    loaders: Loaders,
    world: World,
    damage: DamageLedger | None,
    stop: StopRequest,
) -> Validator:
    """Measures the learner's model on the validation split, until a signal asks to stop."""
    restorer = ClipRestorer(learner.model, config.model.use_spike, least_side(config))
    return Validator(
        restorer,
        loaders.val,
        learner.precision,
        world,
        compiled=config.train.compile_model,
        damage=damage,
        asked_to_stop=lambda: stop.requested,
    )


def make_schedule(config: Config, micro_batches_per_epoch: int) -> Schedule:
    """How long to train, and what to do when.

    Raises:
        ConfigError: the epochs are too short for a single optimizer step.
    """
    train = config.train
    total = train.total_steps or 0
    if train.epochs is not None:
        total = train.epochs * micro_batches_per_epoch // train.gradient_accumulation_steps
    if total < 1:
        raise ConfigError(
            f"TRAIN.EPOCHS={train.epochs}: {micro_batches_per_epoch} batches in an epoch are less "
            f"than TRAIN.GRADIENT_ACCUMULATION_STEPS={train.gradient_accumulation_steps}: there "
            "would be no optimizer step"
        )
    return Schedule(
        total_steps=total,
        validate_every=config.log.val_every_steps,
        save_every=config.log.checkpoint_every_steps,
        rate=_rate(config, total),
        compiled=train.compile_model,
    )


def _rate(config: Config, total: int) -> Callable[[int], float]:
    def rate(done_steps: int) -> float:
        return learning_rate(done_steps, total, config.train.optim, config.train.sched)

    return rate
