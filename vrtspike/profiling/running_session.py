"""A recording that has begun: the recorder with its log, loop and hooks, put together."""

import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vrtspike.errors import RecorderUsageError, VRTSpikeError
from vrtspike.profiling.communication import Communication
from vrtspike.profiling.environment import describe_device, versions
from vrtspike.profiling.gradient_exchange import average_gradients
from vrtspike.profiling.implied_phases import ImpliedPhases
from vrtspike.profiling.loader_facts import LoaderFacts
from vrtspike.profiling.log_lines import end_line
from vrtspike.profiling.memory import MemoryFigures, read_memory_figures
from vrtspike.profiling.rank_facts import RankFacts
from vrtspike.profiling.recorder import EndStatus, Recorder
from vrtspike.profiling.recording import RankPlace, RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.run_folder import RunPaths, open_run, prune_runs, relative_text
from vrtspike.profiling.run_log import RunLog
from vrtspike.profiling.session_place import (
    agree_on_run_id,
    find_place,
    guess_device,
    speaks_to_others,
)
from vrtspike.profiling.session_settings import SessionConfig
from vrtspike.profiling.settings import LogConfig, ProfilingConfig
from vrtspike.profiling.spans import SpanValues, Value
from vrtspike.profiling.step_lines import StepLines
from vrtspike.profiling.step_loop import StepLoop
from vrtspike.profiling.tensorboard_scalars import TensorboardScalars
from vrtspike.profiling.wrapped_loader import WrappedLoader, loader_settings

_log = logging.getLogger(__name__)
_KILLED_LOADER = re.compile(r"DataLoader worker .*killed by signal: ([\w ]+)")
_MAX_LOADERS = 32


@dataclass(frozen=True, kw_only=True)
class SessionRequest:
    """What a caller asked for, checked."""

    name: str | None
    device: torch.device | None
    config: Mapping[str, Any]
    profile: bool
    session: SessionConfig
    log: LogConfig
    profiling: ProfilingConfig


class RunningSession:
    """Everything that records one run; begins when made.

    Args:
        request: What to record.
        found: The device of the model that is about to be observed, if it is.

    Raises:
        RecorderUsageError: the ranks cannot agree on a folder.
    """

    def __init__(self, request: SessionRequest, found: torch.device | None = None) -> None:
        self._request = request
        self._place = find_place()
        self._is_guess = request.device is None and found is None
        self.device = request.device or found or guess_device(self._place)
        run, paths = self._describe()
        self._run_log = self._open_log(run, paths)
        self._facts = LoaderFacts(self.device)
        self._communication = Communication.fitting(self.device)
        self.recorder = self._new_recorder(run, paths)
        self.recorder.__enter__()
        if speaks_to_others():
            RankFacts(self._place, self.device, run.host, self.recorder.event).start()
        self.loop = StepLoop(self.recorder, request.session.first_step)
        self._implied = ImpliedPhases(self.loop)
        self._implied.watch_optimizers()
        self._loaders: list[dict[str, Value]] = []
        self._warned = False

    def observe(
        self, model: nn.Module, inner: nn.Module, stages: Mapping[str, tuple[str, ...]]
    ) -> None:
        """Hooks stages of `inner`, which is `model` without its wrappers."""
        self._check_device(inner)
        if not self.loop.can_open_phase:
            raise RecorderUsageError(
                "run.observe() inside a phase or a span: call it before the loop"
            )
        self.recorder.observe(inner, stages)
        parts = [inner.get_submodule(path) for paths in stages.values() for path in paths]
        self._implied.watch_forward(model, (inner, *parts))

    def time_exchange(self, model: nn.Module, hook: Any, state: Any) -> None:
        """Lets DDP exchange its gradients through a hook that is timed.

        Raises:
            RecorderUsageError: the model is no DDP, or exchanges through another hook already.
        """
        if not isinstance(model, nn.parallel.DistributedDataParallel):
            raise RecorderUsageError(
                "run.time_exchange(): must be a model in DistributedDataParallel, got a "
                f"{type(model).__name__}"
            )
        try:
            model.register_comm_hook(state, self._communication.timed(hook or average_gradients))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RecorderUsageError(
                f"run.time_exchange(): {reason}; give your own hook to time_exchange instead of "
                "registering it"
            ) from None

    def wrap(self, loader: Iterable[Any]) -> Iterable[Any]:
        """The loader, watched; its settings are written down."""
        known = loader_settings(loader)
        if known and known not in self._loaders and len(self._loaders) < _MAX_LOADERS:
            self._loaders.append(known)
            self.recorder.event("loader_settings", **known)
        return WrappedLoader(loader, self.loop, self._facts)

    @contextmanager
    def span(self, name: str) -> Iterator[SpanValues]:
        """Something outside the steps."""
        self._implied.close_open()
        if self.recorder.outside_phases:
            self.loop.pause()
        elif not self.loop.spans_open:
            raise RecorderUsageError(
                f"run.span({name!r}) inside a phase of the step: end the phase first"
            )
        self.loop.spans_open += 1
        try:
            with self.recorder.span(name) as values:
                yield values
        finally:
            self.loop.spans_open -= 1

    def end_step(self, micro_batches: int | None, samples: int | None, **figures: Any) -> None:
        """Ends the step; figures are those of `Recorder.end_step`."""
        if self.loop.spans_open:
            raise RecorderUsageError("run.step() inside run.span(): end the span first")
        self._implied.close_open()
        if not self.loop.can_open_phase:
            raise RecorderUsageError(
                "run.step() inside run.phase(): the step ends after its phases; move it out of the "
                "`with` block"
            )
        terms = figures.get("loss_terms") or {}
        for name, value in {**terms, **figures}.items():
            if isinstance(value, Tensor):
                self._check_scalar(name, value)
        self.loop.end(micro_batches, samples, **figures)

    def finish(self, status: EndStatus, error: BaseException | None, elapsed_s: float) -> None:
        """Ends the recording; a fault of its own is said and not raised."""
        try:
            self._implied.detach()
            self._say_no_step(status)
            self._say_error(error)
            self.recorder.finish(status)
            if self._run_log is not None:
                done = self.loop.done - self._request.session.first_step + 1
                self._run_log.line(end_line(status, done, elapsed_s))
                self._run_log.close()
        except (OSError, RuntimeError, ValueError) as fault:
            _log.warning("the end of the recording is incomplete: %s", fault)

    def _describe(self) -> tuple[RunRecord, RunPaths]:
        request, now = self._request, datetime.now().astimezone()
        run_id = agree_on_run_id(request.session.run_id, self._place, self.device, now)
        run, paths = open_run(
            run_id,
            request.log,
            now=now,
            base=Path(),
            config=request.config,
            argv=sys.argv,
            world_size=self._place.world_size,
            device=describe_device(self.device),
            versions=versions(),
            clock="device" if self.device.type == "cuda" else "host",
            first_step=request.session.first_step,
            total_steps=request.session.total_steps,
            trainer="own",
            name=request.name,
        )
        # Several loops of one's own may well begin in the same second: each has a log of its own.
        paths = replace(paths, log=paths.log.with_name(f"{run_id}.log"))
        log = relative_text(paths.log, paths.facts_dir)
        return replace(run, log=log, checkpoint_dir=None), paths

    def _open_log(self, run: RunRecord, paths: RunPaths) -> RunLog | None:
        """The text log of rank 0, and room for this run among the older ones."""
        if self._place.rank != 0:
            return None
        session, settings = self._request.session, self._request.log
        log = RunLog(paths.log, sys.stdout if session.terminal else None)
        log.begin(run, paths.facts_dir)
        if settings.keep_runs is not None:
            for folder in prune_runs(paths.facts_dir.parent, settings.keep_runs, run.run_id):
                log.line(f"[facts] keep_runs={settings.keep_runs}: {folder.as_posix()} is deleted")
        return log

    def _new_recorder(self, run: RunRecord, paths: RunPaths) -> Recorder:
        request, place = self._request, self._place
        listeners: list[StepLines | TensorboardScalars] = []
        if self._run_log is not None:
            listeners.append(self._step_lines(self._run_log, place))
            if request.log.tensorboard:
                scalars = TensorboardScalars(
                    paths.facts_dir,
                    every_steps=request.log.step_every_steps,
                    world_size=place.world_size,
                    host=run.host or "host",
                )
                listeners.append(scalars)
        plan = RecordingPlan(
            settings=request.profiling,
            profile=request.profile,
            parts=(self._facts, self._communication),
        )
        return Recorder(
            facts_dir=paths.facts_dir,
            run=run,
            plan=plan,
            device=self.device,
            place=place,
            listeners=listeners,
        )

    def _step_lines(self, log: RunLog, place: RankPlace) -> StepLines:
        session = self._request.session
        return StepLines(
            log,
            self._request.log,
            total_steps=session.total_steps,
            first_step=session.first_step,
            place=place,
            read_memory=self._memory_figures,
        )

    def _memory_figures(self) -> MemoryFigures:
        figures = read_memory_figures(self.device)
        return replace(figures, reducible="what is cached, or the loader's num_workers")

    def _check_device(self, model: nn.Module) -> None:
        tensor = next(model.parameters(), None)
        lies = None if tensor is None or tensor.device.type == "meta" else tensor.device.type
        if self._is_guess and lies is not None and lies != self.device.type:
            raise RecorderUsageError(
                f"run.observe(): the model lies on {lies}, but recording has begun for "
                f"{self.device.type}: observe it before all else, or give record(device={lies!r})"
            )

    def _check_scalar(self, name: str, value: Tensor) -> None:
        if value.numel() != 1:
            raise RecorderUsageError(
                f"run.step({name}=...): must be a single number, got a tensor of shape "
                f"{tuple(value.shape)}; give its mean"
            )
        if value.device.type != self.device.type == "cpu" and not self._warned:
            self._warned = True
            say = (
                f"the loss lies on {value.device.type}, but times are taken on the host, which "
                "does not wait for it: observe the model after it was moved, or give "
                f"record(device={value.device.type!r})"
            )
            _log.warning("%s", say)
            if self._run_log is not None:
                self._run_log.line(f"[record] WARNING: {say}")

    def _say_no_step(self, status: EndStatus) -> None:
        if status == "finished" and self.loop.done < self._request.session.first_step:
            say = "no step was recorded: call run.step() after each optimizer.step()"
            _log.warning("%s", say)
            if self._run_log is not None:
                self._run_log.line(f"[record] WARNING: {say}")

    def _say_error(self, error: BaseException | None) -> None:
        """What ended the loop, for the tools: in the log, and as an event where they know it."""
        if error is None or isinstance(error, KeyboardInterrupt | SystemExit):
            return
        text = str(VRTSpikeError(f"{type(error).__name__}: {error}".partition("\n")[0]))
        if self._run_log is not None:
            self._run_log.line(f"[error] {text}")
        if isinstance(error, torch.OutOfMemoryError):
            place = self.recorder.failure_place(error)
            self.recorder.event("out_of_memory", where="device", reason=text, **place)
        elif "DefaultCPUAllocator" in str(error) or isinstance(error, MemoryError):
            place = self.recorder.failure_place(error)
            self.recorder.event("out_of_memory", where="host", reason=text, **place)
        elif (killed := _KILLED_LOADER.search(str(error))) is not None:
            name = killed[1].strip()
            self.recorder.event("loading_process_died", signal=name, reason=text)


def status_after(error: BaseException | None) -> EndStatus:
    """How a run ended, by what left its `with` block; `sys.exit(0)` is a finished one."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    left_well = error is None or (isinstance(error, SystemExit) and not error.code)
    return "finished" if left_well else "failed"
