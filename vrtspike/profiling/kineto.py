"""The torch profiler on a schedule that counts this run's own steps.

It is built when its first step comes, so that the steps before cost nothing and a resumed run
starts to count at its first step. Traces carry the names of the recorder's phases and stages.
"""

import os
import time
import warnings
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from vrtspike.profiling.clock import Clock
from vrtspike.profiling.jsonl_writer import discard
from vrtspike.profiling.parts import PartHost
from vrtspike.profiling.ranges import TraceRanges
from vrtspike.profiling.settings import ProfilingConfig
from vrtspike.profiling.trace_compressor import Compression

_KINETO_LEVEL = "KINETO_LOG_LEVEL"
_KINETO_SILENT = "99"  # above every level; USDT lines are of level 5, errors of level 4
_MIB = 1024**2
_NOT_WRITTEN = "PyTorch's profiler left no file, which is all that it says of a disk that is full"


class Tracer(Protocol):
    """What is used of `torch.profiler.profile`."""

    def prepare_trace(self) -> None:
        """Warms the tracer up."""
        ...

    def start_trace(self) -> None:
        """Starts to keep what is traced."""
        ...

    def stop_trace(self) -> None:
        """Ends the trace."""
        ...

    def add_metadata(self, key: str, value: str) -> None:
        """Adds a string to the trace."""
        ...

    def export_chrome_trace(self, path: str) -> None:
        """Writes the trace as JSON."""
        ...


def quiet_kineto(device: torch.device, environment: MutableMapping[str, str]) -> None:
    """Keeps Kineto's `USDT:... profiler_start` lines off standard error, unless the user chose.

    Kineto reads the level when the first profiler of a process is prepared. Silence ends above the
    level of its errors, which on a GPU are the only word of a trace without kernels: there they,
    and with them these lines, stay.
    """
    if device.type != "cuda":
        environment.setdefault(_KINETO_LEVEL, _KINETO_SILENT)


def torch_tracer(settings: ProfilingConfig, device: torch.device) -> Tracer:
    """The torch profiler, with the options of the configuration."""
    quiet_kineto(device, os.environ)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    tracer: Tracer = profile(
        activities=activities,
        record_shapes=settings.record_shapes,
        profile_memory=settings.profile_memory,
        with_stack=settings.with_stack,
        with_modules=settings.with_modules,
    )
    return tracer


def _warm_up(tracer: Tracer) -> None:
    """Without the warning of PyTorch 2.10 to 2.12 that each cycle forgets the one before.

    They give it with every profiler, also with one that, as here, has a single cycle.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Profiler clears events")
        tracer.prepare_trace()


@dataclass(frozen=True)
class Window:
    """Which steps are traced; `first_active` to `last_active` are kept."""

    first_warmup: int
    first_active: int
    last_active: int


@dataclass(frozen=True)
class Schedule:
    """`repeat` windows of `wait` untouched, `warmup` traced and `active` kept steps.

    A trace shall not be larger than `max_bytes` before compression; None sets no limit.
    """

    wait: int
    warmup: int
    active: int
    repeat: int = 1
    max_bytes: int | None = None

    def window(self, first_step: int) -> Window:
        """The window that begins to wait at a step."""
        first_warmup = first_step + self.wait
        first_active = first_warmup + self.warmup
        return Window(first_warmup, first_active, first_active + self.active - 1)

    def last_step(self, first_step: int) -> int:
        """The last step that is kept when the first window begins to wait at a step."""
        length = self.wait + self.warmup + self.active
        return first_step + self.repeat * length - 1


def plan_schedule(settings: ProfilingConfig, active: int | None) -> Schedule:
    """The schedule of the configuration; `active` takes the place of `settings.active`."""
    limit = settings.max_trace_mib
    return Schedule(
        wait=settings.wait,
        warmup=settings.warmup,
        active=active or settings.active,
        repeat=settings.repeat,
        max_bytes=None if limit is None else limit * _MIB,
    )


@dataclass(frozen=True, kw_only=True)
class TraceFiles:
    """Where traces go and how they are named.

    With `redact_host` they are told without absolute paths, and with that name for the host.
    """

    folder: Path
    worker_name: str
    run_id: str
    redact_host: str | None = None

    def final(self, unix_s: float) -> Path:
        """A trace's name, as TensorBoard's profiler plugin expects it."""
        stamp = int(unix_s * 1e9)
        return self.folder / f"{self.worker_name}.{stamp}.pt.trace.json.gz"


class TraceSession:
    """Traces windows of steps and has them compressed beside the training.

    `ranges` records while kept steps run; `kept` are the first and last of them that ended, over
    all windows. The last step of a warm-up is traced into a file that only tells its size: as many
    steps are kept as fit into the limit.
    """

    def __init__(
        self,
        files: TraceFiles,
        schedule: Schedule,
        *,
        first_step: int,
        new_tracer: Callable[[], Tracer],
        clock: Clock,
        host: PartHost,
    ) -> None:
        self.ranges = TraceRanges()
        self.window = schedule.window(first_step)
        self.kept: tuple[int, int] | None = None
        self._files = files
        self._schedule = schedule
        self._windows_left = schedule.repeat
        self._new_tracer = new_tracer
        self._clock = clock
        self._host = host
        self._tracer: Tracer | None = None
        self._first_of_window: int | None = None
        self._step_range: record_function | None = None
        self._probing = False
        self._slow_from_the_start = False
        self._compressions: list[Compression] = []

    @property
    def tracing(self) -> bool:
        """Whether the tracer is at work."""
        return self._tracer is not None

    def step_begins(self, step: int) -> None:
        """Warms up, or starts to keep, when the step's turn has come."""
        self._slow_from_the_start = any(each.running for each in self._compressions)
        if not self._windows_left or step < self.window.first_warmup:
            return
        if self._tracer is None:
            self._tracer = self._new_tracer()
            _warm_up(self._tracer)
        if step >= self.window.first_active:
            self._keep(step)
        elif step == self.window.first_active - 1 and self._schedule.max_bytes is not None:
            self._start()
            self._probing = True

    def step_ends(self, step: int) -> None:
        """Tags a step that was slowed down; after the last one of a window, exports the trace.

        The export blocks the training; its time belongs to the step that is tagged here.
        """
        if self.tracing or self._slow_from_the_start:
            self._host.tag("profiled")
        if self._probing:
            self._end_probe()
        elif self._step_range is not None:
            self._close_step_range()
            self._first_of_window = self._first_of_window or step
            self.kept = ((self.kept or (step, step))[0], step)
            if step >= self.window.last_active:
                self._export(self._first_of_window, step)
                self._next_window(step)

    def finish(self) -> None:
        """Exports what a run that ended early has kept, and waits for the compressions."""
        self._close_step_range()
        if self._first_of_window is not None and self.kept is not None:
            self._export(self._first_of_window, self.kept[1])
        elif self._windows_left:
            self._end_early()
        for problem in [each.join() for each in self._compressions]:
            if problem is not None:
                self._miss(problem)

    def _start(self) -> None:
        assert self._tracer is not None
        if not self.ranges.recording:
            self._tracer.start_trace()
            self.ranges.recording = True

    def _stop(self) -> Tracer:
        tracer, self._tracer = self._tracer, None
        assert tracer is not None
        self.ranges.recording = False
        tracer.stop_trace()
        return tracer

    def _keep(self, step: int) -> None:
        self._start()
        if self._step_range is None:
            self._step_range = record_function(f"ProfilerStep#{step}")
            self._step_range.__enter__()

    def _close_step_range(self) -> None:
        if self._step_range is not None:
            self._step_range.__exit__(None, None, None)
            self._step_range = None

    def _end_probe(self) -> None:
        self._probing = False
        path = self._files.folder / f".{self._files.worker_name}.probe.json"
        tracer = self._stop()
        try:
            self._files.folder.mkdir(parents=True, exist_ok=True)
            tracer.export_chrome_trace(str(path))
            step_bytes = path.stat().st_size
        except (OSError, RuntimeError):
            return  # the export of the kept steps will say the same, and then it matters
        finally:
            discard(path)
        limit, planned = self._schedule.max_bytes, self._schedule.active
        fitting = planned if limit is None else max(1, limit // max(1, step_bytes))
        if fitting < planned:
            last = self.window.first_active + fitting - 1
            self.window = replace(self.window, last_active=last)
            self._host.event(
                "profile_shortened",
                steps=fitting,
                planned_steps=planned,
                step_bytes=step_bytes,
                limit_bytes=limit,
            )

    def _end_early(self) -> None:
        if self._tracer is not None:
            if not self.ranges.recording:
                self._tracer.start_trace()
            self._stop()
        if self.kept is None:
            needed = self.window.first_active
            self._miss(f"no trace: the run ended before step {needed}, the first to be kept")

    def _next_window(self, step: int) -> None:
        self._first_of_window = None
        self._windows_left -= 1
        if self._windows_left:
            self.window = self._schedule.window(step + 1)

    def _export(self, first: int, last: int) -> None:
        assert self._tracer is not None
        self._tracer.add_metadata("run_id", self._files.run_id)
        self._tracer.add_metadata("steps", f"{first}-{last}")
        began_ns = time.perf_counter_ns()
        tracer = self._stop()
        final = self._files.final(self._clock.unix_s())
        plain = final.with_name(f".{final.name}.json")
        try:
            self._files.folder.mkdir(parents=True, exist_ok=True)
            tracer.export_chrome_trace(str(plain))
            size = plain.stat().st_size
        except (OSError, RuntimeError) as error:
            silent = isinstance(error, FileNotFoundError)  # PyTorch says nothing of a full disk
            self._miss(f"no trace: {_NOT_WRITTEN if silent else error}")
            discard(plain)
            return
        self._compressions.append(Compression(plain, final, self._files.redact_host))
        self._host.event(
            "profile_written",
            file=final.name,
            steps=f"{first}-{last}",
            plain_bytes=size,
            limit_bytes=self._schedule.max_bytes,
            export_ms=round((time.perf_counter_ns() - began_ns) / 1e6, 1),
        )

    def _miss(self, reason: str) -> None:
        self._host.event("profile_missing", reason=reason)
