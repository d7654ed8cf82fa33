"""The training loop."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from vrtspike.data.lean import copied_tensors
from vrtspike.data.loading_faults import LoadingDiedError
from vrtspike.engine.batch_stream import Batch, BatchStream
from vrtspike.engine.cache_facts import CacheFacts
from vrtspike.engine.checkpoint import BEST, LAST, Position
from vrtspike.engine.clip_model import Clips
from vrtspike.engine.compilation import compiled_graphs
from vrtspike.engine.damage_ledger import DamageLedger
from vrtspike.engine.distributed import World
from vrtspike.engine.interrupts import StopRequest
from vrtspike.engine.learner import Learner
from vrtspike.engine.losses import LossValue
from vrtspike.engine.numerics import NumericsGuard, StepFigures, combine
from vrtspike.engine.quality import Quality
from vrtspike.engine.save_troubles import SaveTroubles
from vrtspike.engine.validation import Validator
from vrtspike.errors import CheckpointError
from vrtspike.profiling.loader_facts import LoaderFacts
from vrtspike.profiling.log_lines import epoch_line, validation_line
from vrtspike.profiling.null_recorder import NullRecorder
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.spans import SpanValues


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When things happen, in optimizer steps. `rate` maps steps done to the next learning rate."""

    total_steps: int
    validate_every: int
    save_every: int
    rate: Callable[[int], float]
    compiled: bool = False


class Saver(Protocol):
    """Keeps checkpoints."""

    best_psnr_db: float | None

    def save(self, name: str, position: Position) -> None:
        """Write one; all ranks call it together."""
        ...


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Who works beside the learner."""

    world: World
    stream: BatchStream
    recorder: Recorder | NullRecorder
    guard: NumericsGuard
    saver: Saver
    say: Callable[[str], None]
    stop: StopRequest
    validator: Validator | None = None
    cache: CacheFacts | None = None
    loading: LoaderFacts | None = None
    damage: DamageLedger | None = None
    clock: Callable[[], float] = time.monotonic


@dataclass
class _StepSums:
    """Sums over the micro-batches of one step; `losses` is the loss, then its terms."""

    losses: Tensor | None = None
    term_names: tuple[str, ...] = ()
    clips: int = 0
    batches: list[Batch] = field(default_factory=list)

    def add(self, value: LossValue, batch: Batch) -> None:
        scalars = [value.total.detach(), *value.terms.values()]
        losses = torch.stack([scalar.float() for scalar in scalars])
        self.losses = losses if self.losses is None else self.losses + losses
        self.term_names = tuple(value.terms)
        self.clips += len(batch["blur"])
        self.batches.append(batch)

    def mean(self) -> Tensor:
        assert self.losses is not None
        return self.losses / len(self.batches)


@dataclass
class _EpochSums:
    """Sums since the last epoch line; what lies outside steps moves `began_s` along."""

    began_s: float
    steps: int = 0
    clips: int = 0
    losses: Tensor | None = None
    term_names: tuple[str, ...] = ()

    def add(self, figures: StepFigures, clips: int) -> None:
        losses = figures.losses
        self.losses = losses if self.losses is None else self.losses + losses
        self.term_names = figures.term_names
        self.steps += 1
        self.clips += clips


class Trainer:
    """Takes optimizer steps until the schedule ends, a signal asks to stop, or something fails.

    A step is one optimizer step over `accumulation` micro-batches. Checkpoints lie on steps, so a
    run resumed from one continues exactly.
    """

    def __init__(
        self, learner: Learner, crew: Crew, schedule: Schedule, position: Position
    ) -> None:
        self._learner = learner
        self._crew = crew
        self._schedule = schedule
        self._recorder = crew.recorder
        self._epochs_said = crew.stream.epoch
        self._epoch = _EpochSums(crew.clock())
        self._rate = schedule.rate(position.step)
        self._troubles = SaveTroubles(crew.say)
        self._saved_step = self._validated_step = position.step
        self._broke_off = False
        self.position = position

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.position.step

    def run(self) -> bool:
        """Train; returns whether the schedule was completed rather than stopped.

        Raises:
            VRTSpikeError: broken data, a loss that is not finite, a full disk and the like.
        """
        self._learner.network.train()
        try:
            return self._take_all_steps()
        finally:  # a run that fails for want of memory is asked about its cache, too
            self._troubles.over()
            if self._crew.cache is not None:
                self._crew.cache.conclude()

    def _take_all_steps(self) -> bool:
        while self.step < self._schedule.total_steps and not self._asked_to_stop():
            try:
                self._train_step()
            except LoadingDiedError:
                if not self._asked_to_stop():
                    raise
                self._crew.say("[train] the loading processes got the signal too: step abandoned")
                break
            self._say_epoch()
            self._validate_if_due()
            self._save_if_due()
        self._crew.guard.review(everything=True)
        completed = self.step >= self._schedule.total_steps
        if completed and self._validated_step < self.step and not self._broke_off:
            self._validate()
        if self._saved_step < self.step:
            self._save(LAST)
        return completed and not self._broke_off

    def _train_step(self) -> None:
        graphs = self._graphs()
        self._recorder.begin_step(self.step + 1)
        if self._crew.damage is not None:
            self._crew.damage.begin(self._crew.stream.epoch)
        sums = _StepSums()
        for number in range(1, self._learner.accumulation + 1):
            batch = self._fetch()
            clips = self._to_device(batch)
            with self._learner.gradient_sync(last=number == self._learner.accumulation):
                output = self._forward(clips)
                loss = self._measure(output, clips)
                self._backward(loss)
            sums.add(loss, batch)
        figures, grad_norm = self._optimize(sums)
        if self._graphs() > graphs:
            self._recorder.tag("compile")
        self._end_step(sums, figures, grad_norm)

    def _fetch(self) -> Batch:
        with self._recorder.phase("data_wait"):
            batch = self._crew.stream.next()
        if self._crew.damage is not None:
            self._crew.damage.note(batch)
        return batch

    def _to_device(self, batch: Batch) -> Clips:
        if self._crew.loading is not None:
            self._crew.loading.copied(copied_tensors(batch))
        with self._recorder.phase("h2d"):
            return self._learner.to_device(batch)

    def _forward(self, clips: Clips) -> Tensor:
        with self._recorder.phase("forward"):
            return self._learner.forward(clips)

    def _measure(self, output: Tensor, clips: Clips) -> LossValue:
        with self._recorder.phase("loss"):
            return self._learner.measure(output, clips)

    def _backward(self, loss: LossValue) -> None:
        with self._recorder.phase("backward"):
            if self._crew.guard.backward_is_safe(loss.total):
                self._learner.backward(loss.total)

    def _optimize(self, sums: _StepSums) -> tuple[StepFigures, Tensor]:
        with self._recorder.phase("optimizer"):
            grad_norm = self._learner.clip()
            figures = combine(
                self._crew.world,
                sums.mean(),
                sums.term_names,
                grad_norm,
                stop=self._crew.stop.requested,
                damaged=0 if self._crew.damage is None else self._crew.damage.count,
            )
            self._rate = self._schedule.rate(self.step)
            self._learner.update(self._rate, figures.bad)
            stream = self._crew.stream
            self.position = Position(
                self.step + 1, stream.epoch, stream.micro_batch, self.position.clips
            )
            self._crew.guard.add(self.step, figures, sums.batches)
        return figures, grad_norm

    def _end_step(self, sums: _StepSums, figures: StepFigures, grad_norm: Tensor) -> None:
        self._epoch.add(figures, sums.clips)
        self._recorder.end_step(
            micro_batches=len(sums.batches),
            samples=sums.clips,
            loss=figures.loss,
            loss_terms=figures.terms,
            lr=self._rate,
            grad_norm=grad_norm,
        )
        self._crew.guard.review()
        if self._crew.cache is not None:
            self._crew.cache.review()

    def _asked_to_stop(self) -> bool:
        """Ranks stop together: a signal that one of them got counts once all have heard of it."""
        if self._crew.world.size > 1:
            return self._broke_off or self._crew.guard.stop_agreed
        return self._crew.stop.requested

    def _say_epoch(self) -> None:
        """The line of an epoch, in the step that used its last micro-batch."""
        epoch = self._crew.stream.epoch
        if epoch == self._epochs_said:
            return
        self._crew.say(self._epoch_line(epoch))
        if self._crew.damage is not None:
            self._crew.damage.conclude()
        if self._crew.cache is not None:
            self._crew.cache.record()
        self._epochs_said, self._epoch = epoch, _EpochSums(self._crew.clock())

    def _epoch_line(self, epoch: int) -> str:
        sums = self._epoch
        assert sums.losses is not None
        spent_s = max(self._crew.clock() - sums.began_s, 1e-9)
        means = (sums.losses / sums.steps).tolist()
        return epoch_line(
            epoch,
            steps=sums.steps,
            losses=dict(zip(("loss", *sums.term_names), means, strict=True)),
            lr=self._rate,
            time_s=spent_s,
            samples_per_s=sums.clips * self._crew.world.size / spent_s,
        )

    def _validate_if_due(self) -> None:
        if self.step % self._schedule.validate_every == 0:
            self._validate()

    def _validate(self) -> None:
        if self._crew.validator is None:
            return
        self._crew.guard.review(everything=True)
        with self._outside_steps("validation") as span:
            if (quality := self._quality(self._crew.validator)) is not None:
                span.values.update(quality.as_values())
        if quality is None:
            self._broke_off = True
            self._crew.say("[train] asked to stop: validation abandoned")
            return
        self._validated_step = self.step
        metrics = {
            "PSNR_RGB": quality.psnr_rgb_db,
            "PSNR_Y": quality.psnr_y_db,
            "SSIM_Y": quality.ssim_y,
        }
        before = {"PSNR_RGB": quality.input_psnr_rgb_db}
        self._crew.say(validation_line(self.step, metrics, before))
        best = self._crew.saver.best_psnr_db
        if best is None or quality.psnr_rgb_db > best:
            self._crew.saver.best_psnr_db = quality.psnr_rgb_db
            self._try_to_save(BEST)

    def _quality(self, validator: Validator) -> Quality | None:
        """None where a signal ended the run meanwhile, whatever it did to loading processes."""
        try:
            return validator.measure()
        except LoadingDiedError:
            if not self._asked_to_stop():
                raise
            return None

    def _save_if_due(self) -> None:
        if self.step % self._schedule.save_every == 0:
            self._try_to_save(LAST)

    def _try_to_save(self, name: str) -> None:
        """A full disk in the middle of a run is said, and need not end it: the next one may fit."""
        try:
            self._save(name)
        except CheckpointError as error:
            self._troubles.failed(self.step, str(error))

    def _save(self, name: str) -> None:
        self._crew.guard.review(everything=True)
        with self._outside_steps("checkpoint") as span:
            span.values["file"] = name
            self._crew.saver.save(name, self._position())
        self._troubles.over()
        if name == LAST:
            self._saved_step = self.step

    def _position(self) -> Position:
        """With the damage of the epoch that goes on, as far as all ranks know of it."""
        damage = self._crew.damage
        if damage is None or damage.epoch != self.position.epoch:
            return self.position
        return replace(self.position, damaged=damage.total)

    @contextmanager
    def _outside_steps(self, name: str) -> Iterator[SpanValues]:
        """A span whose time counts in no step and in no epoch's throughput."""
        began_s = self._crew.clock()
        with self._recorder.span(name) as span:
            yield span
        self._epoch.began_s += self._crew.clock() - began_s

    def _graphs(self) -> int:
        return compiled_graphs() if self._schedule.compiled else 0
