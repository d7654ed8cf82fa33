"""Writes facts about a training run, from outside the model, and interprets nothing.

The training loop says where a step, its phases and the spans between steps begin and end. The
recorder stamps them, times the model's stages through hooks, and writes records as soon as their
times are known. It never waits for the device inside a step and never stops the training.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from vrtspike.profiling import spans
from vrtspike.profiling.facts import FactsWriter
from vrtspike.profiling.failure_place import failure_place
from vrtspike.profiling.listeners import EventListener, SpanListener, StepListener
from vrtspike.profiling.memory_labels import memory_labels
from vrtspike.profiling.module_hooks import StageHooks
from vrtspike.profiling.own_cost import OwnCost
from vrtspike.profiling.own_parts import own_parts
from vrtspike.profiling.pending import PendingStep, PendingSteps, Resolved
from vrtspike.profiling.ranges import BothRanges
from vrtspike.profiling.recording import Instruments, RankPlace, RecordingPlan
from vrtspike.profiling.recording_budget import RecordingBudget
from vrtspike.profiling.records import MEASURED_PHASES, EventRecord, RunRecord, SpanRecord
from vrtspike.profiling.redaction import redact_value
from vrtspike.profiling.run_folder import utc_text
from vrtspike.profiling.spans import SpanValues, Value
from vrtspike.profiling.step_book import PhaseContext, StepBook
from vrtspike.profiling.step_tags import StepTags
from vrtspike.profiling.tracing import Tracing

EndStatus = Literal["finished", "interrupted", "failed"]
_TAGGING_SPANS = ("validation", "checkpoint")
_NOTHING = nullcontext()


class Recorder:
    """Records one rank of one run; a context manager.

    Args:
        facts_dir: The run's folder of facts; made if it is missing.
        run: What `meta.json` says; rank 0 writes it.
        plan: What to record besides.
        device: Where the model runs.
        place: The rank is part of the file names; one rank of each machine samples it.
        listeners: Hear of every step, of spans and events if they can.
        instruments: What measures; by default what fits the device.
    """

    def __init__(
        self,
        *,
        facts_dir: Path,
        run: RunRecord,
        plan: RecordingPlan,
        device: torch.device,
        place: RankPlace | None = None,
        listeners: Sequence[StepListener] = (),
        instruments: Instruments | None = None,
    ) -> None:
        self._facts_dir = facts_dir
        measuring = instruments or Instruments.fitting(device)
        self._clock, self._timer = measuring.clock, measuring.timer
        self._memory = measuring.memory
        self._run = replace(run, clock=self._timer.clock)
        self._plan = plan
        self._place = place or RankPlace()
        self._cost = OwnCost(self._clock.perf_ns)
        self._budget = RecordingBudget(self._cost, plan.settings.budget_share)
        own = own_parts(facts_dir, run, plan, device, self._place)
        self._tracing = Tracing(
            plan, run, self._place, folder=facts_dir, device=device, clock=self._clock
        )
        labels = memory_labels(device, plan.settings.memory_history)
        own += [] if labels is None else [labels]
        self._parts = (self._tracing, *own, *plan.parts, self._budget)
        hearing = [part for part in self._parts if isinstance(part, StepListener)]
        self._listeners = (*listeners, *hearing)
        traced = self._tracing.ranges
        ranges = traced if labels is None else BothRanges(traced, labels)
        self._hooks = StageHooks(self._timer, ranges, self._memory, self._cost)
        self._book = StepBook(self._clock, self._timer, self._hooks, ranges, self._memory)
        self._phases = {n: PhaseContext(self._book, n, self._cost) for n in MEASURED_PHASES}
        self._pending = PendingSteps(self._timer)
        self._tags = StepTags()
        self._step = run.first_step - 1
        self._in_step = False
        self._spans_open = 0
        self._facts: FactsWriter | None = None
        self._steps_ended = 0
        self._finished = False

    @property
    def facts_dir(self) -> Path:
        """The run's folder of facts."""
        return self._facts_dir

    @property
    def run(self) -> RunRecord:
        """What `meta.json` says now."""
        return self._run

    def __enter__(self) -> Self:
        self._facts = FactsWriter(self._facts_dir, self._place.rank)
        self._run = replace(self._run, profiled_steps=self._tracing.steps)
        self._facts.meta(self._run)
        self._tags.add("first")
        self._tags.watch_gc()
        for part in self._parts:
            part.start(self)
        spans.activate(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):
            for part in self._parts:
                part.failed(error)
        if kind is None:
            self.finish("finished")
        else:
            self.finish("interrupted" if issubclass(kind, KeyboardInterrupt) else "failed")

    def expect_steps(self, total: int) -> None:
        """Says how many steps the whole training has, once the data set has told."""
        self._run = replace(self._run, total_steps=total)
        if self._facts is not None:
            self._facts.meta(self._run)

    def observe(self, model: nn.Module, stages: Mapping[str, Sequence[str]]) -> None:
        """Times stages of a model from now on.

        Args:
            model: The module that the paths start from; the model itself, not its DDP wrapper.
            stages: Stage name to dotted submodule paths, whose times are summed.

        Raises:
            ValueError: a path names no submodule, or a container that is never called.
        """
        self._hooks.attach(model, stages)
        self._run = replace(self._run, stages=self._hooks.names)
        if self._facts is not None:
            self._facts.meta(self._run)

    def checkpoint_context(self) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
        """A `context_fn` for `torch.utils.checkpoint.checkpoint(..., use_reentrant=False)`.

        What is recomputed under it counts as recomputation of the stage that it lies in. Stages
        that are checkpointed whole need none.
        """
        return self._hooks.checkpoint_context()

    def begin_step(self, step: int) -> None:
        """Names the step that has begun where the last one ended.

        The first step of a run begins here: what came before is preparation.
        """
        self._cost.begin()
        if not self._steps_ended and not self._in_step:
            self._book.start_first()
        self._step = step
        self._in_step = True
        for part in self._parts:
            part.step_begins(step)
        self._book.observing = self._tracing.active or self._budget.observes(step)
        self._cost.end()

    def withdraw_step(self) -> None:
        """The step that was begun has not come yet: a span now lies outside the steps."""
        self._step -= 1
        self._in_step = False

    @property
    def outside_phases(self) -> bool:
        """Whether a phase could be opened now without lying in another one, or in a span."""
        return not (self._book.in_phase or self._spans_open or self._finished)

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A phase of the step; may repeat and nest. Inside a span it measures nothing.

        Raises:
            ValueError: the name is none of the phases.
        """
        context = self._phases.get(name)
        if context is None:
            raise ValueError(f"unknown phase {name!r}; known: {', '.join(MEASURED_PHASES)}")
        return _NOTHING if self._spans_open or self._finished else context

    def end_step(
        self,
        *,
        micro_batches: int,
        samples: int | None,
        loss: Tensor | float | None = None,
        loss_terms: Mapping[str, Tensor | float] | None = None,
        lr: float | None = None,
        grad_norm: Tensor | float | None = None,
    ) -> None:
        """Closes the step and writes, ten times a second at most, those whose times are known.

        Args:
            micro_batches: Forward passes of the step.
            samples: Clips of this rank in the step; None if they are not known.
            loss: Their mean loss; a device tensor is read later, without waiting.
            loss_terms: Parts of the loss by name.
            lr: The learning rate that was used.
            grad_norm: The norm of all gradients before clipping.
        """
        if self._finished:
            return
        self._cost.begin()
        named = {**(loss_terms or {}), "loss": loss, "grad_norm": grad_norm}
        scalars = {name: value for name, value in named.items() if value is not None}
        read = self._timer.read(tuple(scalars.values()))
        memory = self._memory.read()
        fields = {n: f for part in self._parts for n, f in part.step_ends(self._step).items()}
        pending = PendingStep(
            step=self._step,
            micro_batches=micro_batches,
            samples=samples,
            account=self._book.close(),
            tags=self._tags.take(),
            scalar_names=tuple(scalars),
            scalars=read,
            lr=lr,
            memory=memory,
            stage_peaks=self._memory.take_peaks(),
            fields=fields,
        )
        self._in_step = False
        self._steps_ended += 1
        self._memory.reset_peak()
        self._pending.add(pending)
        self._cost.end()
        began_ns = self._clock.perf_ns()
        if due := self._pending.due(began_ns):
            self._write(due)
            self._cost.spread(self._clock.perf_ns() - began_ns, len(due))

    def flush(self) -> None:
        """Writes every step whose times are known by now; never waits for the device.

        Steps shorter than a tenth of a second are written together, ten times a second. What
        begins now may take long, or be the last that is heard of the run.
        """
        self._write(list(self._pending.ready()))

    def tag(self, tag: str) -> None:
        """Tags the running step, or the next one between steps.

        Raises:
            ValueError: the tag is none of `STEP_TAGS`.
        """
        self._tags.add(tag)

    @contextmanager
    def span(self, name: str) -> Iterator[SpanValues]:
        """Measures something outside the steps; what is put into `values` is written with it.

        A span named validation or checkpoint tags the step after it. Phases inside a span measure
        nothing, so that a validation's forward never mixes with the training's.
        """
        self.flush()
        values = SpanValues()
        start_unix_s, start_ns = self._clock.unix_s(), self._clock.perf_ns()
        self._spans_open += 1
        for part in self._parts:
            part.span_begins(name)
        mode, self._hooks.mode = self._hooks.mode, None
        try:
            yield values
        except BaseException as error:
            values.values.setdefault("error", type(error).__name__)
            raise
        finally:
            self._hooks.mode = mode
            self._spans_open -= 1
            for part in self._parts:
                part.span_ends()
            spent_ms = (self._clock.perf_ns() - start_ns) / 1e6
            self._end_span(
                SpanRecord(
                    name=name,
                    step=self._step,
                    start_unix_s=start_unix_s,
                    host_ms=spent_ms,
                    values=self._sayable(values.values),
                )
            )

    def event(self, name: str, **values: Value) -> None:
        """Writes down that something happened now."""
        record = EventRecord(
            name=name, step=self._step, at_unix_s=self._clock.unix_s(), values=self._sayable(values)
        )
        if self._facts is not None:
            self._facts.span(record)
        for listener in self._listeners:
            if isinstance(listener, EventListener):
                listener.on_event(record)

    def failure_place(self, error: BaseException) -> dict[str, Value]:
        """Where an error came from, for an event: stage, phase, line, shapes of the tensors."""
        return failure_place(error, self._hooks.stage_of, redact=self._run.redacted)

    def finish(self, status: EndStatus) -> None:
        """Writes what is outstanding and how the run ended; only the first call counts."""
        if self._finished:
            return
        self._finished = True
        spans.deactivate(self)
        self._tags.close()
        self._drain()
        self._say_silent_stages()
        self._hooks.detach()
        for part in self._parts:
            part.finish()
        self._say_lost_lines()
        for listener in self._listeners:
            listener.close()
        self._memory.close()
        self._write_end(status)

    def _sayable(self, values: Mapping[str, Value]) -> dict[str, Value]:
        plain = spans.plain_values(values)
        return {n: redact_value(v) for n, v in plain.items()} if self._run.redacted else plain

    def _write(self, resolved: Sequence[Resolved]) -> None:
        if self._facts is not None:
            self._facts.steps([records.step for records in resolved])
            self._facts.stages([stages for records in resolved for stages in records.stages])
        for records in resolved:
            for listener in self._listeners:
                listener.on_step(records.step, records.stages)

    def _end_span(self, record: SpanRecord) -> None:
        if record.name in _TAGGING_SPANS:
            self._tags.add(record.name)
        if self._facts is not None:
            self._facts.span(record)
        for listener in self._listeners:
            if isinstance(listener, SpanListener):
                listener.on_span(record)
        if not self._in_step and not self._spans_open:
            self._memory.reset_peak()
            self._book.restart()

    def _drain(self) -> None:
        try:
            if len(self._pending):
                self._timer.synchronize()
            self.flush()
        except RuntimeError as error:  # the device failed, which may be why the run ends
            self.event("device_times_lost", steps=len(self._pending), reason=str(error))
        self._write(list(self._pending.abandoned()))

    def _say_silent_stages(self) -> None:
        silent = self._hooks.silent
        if silent and self._steps_ended:
            self.event("stages_never_called", stages=" ".join(silent))

    def _say_lost_lines(self) -> None:
        """Rank 0 says it in `meta.json`, which the other ranks do not write."""
        lost = self._facts.lost_lines if self._facts is not None else 0
        if lost and self._place.rank:
            self.event("lines_lost", lines=lost)

    def _write_end(self, status: EndStatus) -> None:
        if self._facts is None:
            return
        ended = datetime.fromtimestamp(self._clock.unix_s(), UTC)
        self._facts.close()
        self._run = replace(
            self._run,
            status=status,
            ended_at=utc_text(ended),
            lost_lines=self._facts.lost_lines,
            profiled_steps=self._tracing.steps,
        )
        self._facts.meta(self._run)
