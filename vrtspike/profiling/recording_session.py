"""The recorder for any PyTorch training loop: `with record("my-run") as run:`.

`docs/any-trainer.md` shows a whole loop. What a loop does not name is found out where PyTorch tells
(the forward of the observed model, its backward, the optimizer's step), and is `other` elsewhere.
"""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from vrtspike.errors import RecorderUsageError
from vrtspike.profiling.observed_stages import Names, device_of, stages_of, unwrapped
from vrtspike.profiling.records import MEASURED_PHASES
from vrtspike.profiling.running_session import RunningSession, SessionRequest, status_after
from vrtspike.profiling.session_settings import nearest, plain_config, read_settings, step_number
from vrtspike.profiling.spans import SpanValues

_log = logging.getLogger(__name__)
Batch = TypeVar("Batch")
Contexts = tuple[AbstractContextManager[Any], AbstractContextManager[Any]]
_NOTHING = nullcontext()


def record(
    name: str | None = None,
    *,
    device: str | torch.device | None = None,
    config: Any = None,
    profile: bool = False,
    enabled: bool = True,
    **settings: Any,
) -> "RecordedRun":
    """Makes what records a training loop inside `with`.

    Writes `profiles/<run_id>/` (facts, TensorBoard scalars) and `outputs/logs/<run_id>.log`, which
    `analyze_performance.py` and `diagnose_memory.py` read. In a job of several processes every one
    of them records; rank 0 writes the log.

    Args:
        name: What a person calls the run.
        device: Where the model runs; by default where the first observed model lies.
        config: The loop's own settings, written to `meta.json`: a mapping, dataclass or namespace.
            Texts under keys such as `password`, `api_key` or `hf_token` are left out; see that no
            other secrets are in it, or on the command line, which is written down, too.
        profile: Whether the torch profiler traces a window of steps (`wait, warmup, active`).
        enabled: False gives a run whose methods do nothing.
        **settings: `total_steps`, `first_step`, `terminal`, `run_id`, and every setting of the
            sections LOG and PROFILING of our own trainer in small letters, with its default:
            `save_dir, profiles_dir, tensorboard, step_every_steps, keep_runs, redact, resources,
            resource_interval_s, wait, warmup, active, ...` (`docs/any-trainer.md`).

    Raises:
        RecorderUsageError: a setting is unknown or wrong; one line.
    """
    session, log, profiling = read_settings(settings)
    request = SessionRequest(
        name=None if name is None else _printable(name),
        device=None if device is None else _device(device),
        config=plain_config(config),
        profile=bool(profile),
        session=session,
        log=log,
        profiling=profiling,
    )
    return RecordedRun(request) if enabled else _UnrecordedRun(request)


class RecordedRun:
    """A training loop that is being recorded; made by `record`, used inside `with`.

    Recording begins with the first call of a method, so that `observe` can say which device it is.
    A fault of the recorder itself is said once and costs the record, never the training; a call
    that means nothing is a `RecorderUsageError`. Exceptions of the loop pass through: the run is
    marked failed, or interrupted after Ctrl-C.
    """

    def __init__(self, request: SessionRequest) -> None:
        self._request = request
        self._running: RunningSession | None = None
        self._stage: str = "new"
        self._began_s = 0.0

    def __enter__(self) -> Self:
        if self._stage != "new":
            raise RecorderUsageError("a recorded run is entered once; call record() for each run")
        _Active.enter(self)
        self._stage = "open"
        self._began_s = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _Active.leave(self)
        running = self._running if error else self._started()  # an empty run is one, too
        self._stage = "ended"
        if running is not None:
            running.finish(status_after(error), error, time.monotonic() - self._began_s)

    @property
    def facts_dir(self) -> Path | None:
        """The run's folder of facts; None while nothing is recorded."""
        return None if self._running is None else self._running.recorder.facts_dir

    @property
    def run_id(self) -> str | None:
        """The run's id; None while nothing is recorded."""
        return None if self._running is None else self._running.recorder.run.run_id

    def observe(self, model: nn.Module, names: Names = None) -> None:
        """Times stages of a model from now on: forward, backward and recomputation.

        Args:
            model: The model, also inside DistributedDataParallel or `torch.compile`.
            names: Paths of submodules (`["encoder", "decoder.0"]`), or stage names with one or more
                paths each (`{"encoder": ["stem", "blocks"]}`). By default the direct children.

        Raises:
            RecorderUsageError: a path names no submodule (the nearest one is named), the model lies
                on another device than the run, or the call came inside a step's phase.
        """
        inner = unwrapped(model)
        stages = stages_of(inner, names)
        running = self._started(device_of(inner))
        if running is not None:
            running.observe(model, inner, stages)

    def recompute_contexts(self) -> Contexts:
        """For `torch.utils.checkpoint.checkpoint(..., context_fn=run.recompute_contexts)`.

        What is recomputed so counts as recomputation of the stage that it lies in, not as its
        backward. Needs `use_reentrant=False`. A stage that is checkpointed as a whole needs none.
        """
        running = self._started()
        contexts = (_NOTHING, _NOTHING)
        return contexts if running is None else running.recorder.checkpoint_context()

    def wrap(self, loader: Iterable[Batch]) -> Iterable[Batch]:
        """The loader, with each wait for a batch measured as `data_wait`.

        May be iterated again and again. All else, such as `len`, `sampler` or `dataset`, is the
        loader's. How many processes load and how far they prefetch is written down.
        """
        running = self._started()
        return loader if running is None else running.wrap(loader)

    def time_exchange(self, model: nn.Module, hook: Any = None, state: Any = None) -> None:
        """Times how DistributedDataParallel exchanges its gradients: hidden and exposed.

        DDP tells this only to what it exchanges through, and takes one such hook: call this in
        place of `model.register_comm_hook(state, hook)`, once, before the first step.

        Args:
            model: The model in DistributedDataParallel.
            hook: Your own communication hook; by default the mean, to the same bits as without.
            state: Its state.

        Raises:
            RecorderUsageError: the model is no DDP, or has a hook already.
        """
        running = self._started()
        if running is not None:
            running.time_exchange(model, hook, state)
        elif hook is not None:
            model.register_comm_hook(state, hook)  # type: ignore[operator]

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A part of the step: data_wait, h2d, forward, loss, backward or optimizer.

        May repeat and nest; what lies in no phase is `other`. Inside a span it measures nothing.

        Raises:
            RecorderUsageError: there is no such phase.
        """
        if name not in MEASURED_PHASES:
            raise RecorderUsageError(
                f"run.phase({name!r}): no such phase{nearest(str(name), MEASURED_PHASES)} "
                f"(phases: {', '.join(MEASURED_PHASES)}; all else is counted as 'other')"
            )
        running = self._started()
        return _NOTHING if running is None else running.loop.phase(name)

    def span(self, name: str) -> AbstractContextManager[SpanValues]:
        """Something outside the steps, such as `validation` or `checkpoint`.

        Numbers put into `.values` of what it gives are written with it and, of a validation, drawn
        by TensorBoard.

        Raises:
            RecorderUsageError: a phase of the step is open.
        """
        running = self._started()
        return nullcontext(SpanValues()) if running is None else running.span(str(name))

    def step(
        self,
        *,
        loss: Tensor | float | None = None,
        samples: int | None = None,
        lr: float | None = None,
        grad_norm: Tensor | float | None = None,
        loss_terms: Mapping[str, Tensor | float] | None = None,
        micro_batches: int | None = None,
    ) -> None:
        """Ends the step: once for each optimizer step, also under gradient accumulation.

        Args:
            loss: The step's loss; a tensor on a GPU is read later, without waiting for it.
            samples: Samples of this rank in the step, all its batches together.
            lr: The learning rate.
            grad_norm: The norm of the gradients.
            loss_terms: Parts of the loss by name.
            micro_batches: Batches of the step; by default those that came from `wrap`, else
                the runs of the observed model.

        Raises:
            RecorderUsageError: a phase or a span is still open, or the loss is no single number.
        """
        running = self._started()
        if running is not None:
            counted = step_number("samples", samples)
            running.end_step(
                micro_batches,
                None if counted is None else int(counted),
                loss=_figure("loss", loss),
                loss_terms={str(n): _figure(str(n), v) for n, v in (loss_terms or {}).items()},
                lr=step_number("lr", lr),
                grad_norm=_figure("grad_norm", grad_norm),
            )

    def _started(self, found: torch.device | None = None) -> RunningSession | None:
        """What records; begins it with the first call. None where it could not begin."""
        if self._running is not None and self._stage == "open":
            return self._running
        if self._stage == "new":
            raise RecorderUsageError("use it as `with record(...) as run:`; it was not entered")
        if self._stage == "ended":
            raise RecorderUsageError("the recording has ended with its `with` block")
        if self._stage == "open":
            try:
                self._running = RunningSession(self._request, found)
            except (OSError, RuntimeError) as error:
                _log.warning("nothing is recorded: %s. Training goes on.", error)
                self._stage = "lost"
        return self._running


class _UnrecordedRun(RecordedRun):
    """Does nothing, at the price of a method call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def observe(self, model: nn.Module, names: Names = None) -> None:
        """Nothing."""

    def recompute_contexts(self) -> Contexts:
        """Two contexts that do nothing."""
        return _NOTHING, _NOTHING

    def wrap(self, loader: Iterable[Batch]) -> Iterable[Batch]:
        """The loader itself."""
        return loader

    def time_exchange(self, model: nn.Module, hook: Any = None, state: Any = None) -> None:
        """Hands a hook of one's own on to DDP."""
        if hook is not None:
            model.register_comm_hook(state, hook)  # type: ignore[operator]

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Nothing."""
        return _NOTHING

    def span(self, name: str) -> AbstractContextManager[SpanValues]:
        """Values that nobody reads."""
        return nullcontext(SpanValues())

    def step(self, **figures: Any) -> None:
        """Nothing."""


class _Active:
    """The one run that this process records; a forked process begins with none."""

    run: RecordedRun | None = None
    pid: int | None = None

    @classmethod
    def enter(cls, run: RecordedRun) -> None:
        if cls.run is not None and cls.pid == os.getpid():
            raise RecorderUsageError(
                "a run is being recorded already: end its `with` block before the next begins"
            )
        cls.run, cls.pid = run, os.getpid()

    @classmethod
    def leave(cls, run: RecordedRun) -> None:
        if cls.run is run:
            cls.run = None


def _figure(name: str, value: Any) -> Tensor | float | None:
    """A tensor as it is, anything else as a number.

    Raises:
        RecorderUsageError: it is none.
    """
    return value if isinstance(value, Tensor) else step_number(name, value)


def _printable(name: str) -> str:
    return "".join(each if each.isprintable() else " " for each in str(name))[:200]


def _device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise RecorderUsageError(
            f"record(device={device!r}): {str(error).splitlines()[0]}"
        ) from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found.type == "cuda" and (found.index or 0) >= count:
        raise RecorderUsageError(f"record(device={str(found)!r}): PyTorch sees {count} GPUs")
    return found
