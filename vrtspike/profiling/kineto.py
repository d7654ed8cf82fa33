"""The torch profiler on a schedule that counts this run's own steps.

It is built when its first step comes, so that the steps before cost nothing and a resumed run
starts to count at its first step. Traces carry the names of the recorder's phases and stages.
"""

import gzip
import logging
import os
import threading
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from vrtspike.profiling.clock import Clock
from vrtspike.profiling.jsonl_writer import discard
from vrtspike.profiling.ranges import TraceRanges
from vrtspike.profiling.redaction import TraceRewrite
from vrtspike.profiling.settings import ProfilingConfig

_log = logging.getLogger(__name__)
_BLOCK_BYTES = 1 << 18
"""Small, since rewriting a block holds the interpreter's lock for about a millisecond."""
_GZIP_LEVEL = 5
_KINETO_LEVEL = "KINETO_LOG_LEVEL"
_KINETO_SILENT = "99"  # above every level; USDT lines are of level 5, errors of level 4


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
    )
    return tracer


@dataclass(frozen=True)
class Window:
    """Which steps are traced; `first_active` and `last_active` are kept."""

    first_warmup: int
    first_active: int
    last_active: int


def plan_window(first_step: int, settings: ProfilingConfig, active: int | None) -> Window:
    """The steps to trace, counted from the run's own first step.

    Args:
        first_step: The first step of this run, also after a resume.
        settings: `wait`, `warmup` and `active` steps.
        active: Takes the place of `settings.active`.
    """
    first_warmup = first_step + settings.wait
    first_active = first_warmup + settings.warmup
    return Window(first_warmup, first_active, first_active + (active or settings.active) - 1)


class TraceSession:
    """Traces one window of steps and writes it compressed, off the training thread.

    `rewrite`, if given, takes out of the trace what it must not tell.
    `ranges` records while the window's kept steps run; `kept` are the first and last of them that
    ended; `problem` says why there is no trace.
    """

    def __init__(
        self,
        *,
        folder: Path,
        worker_name: str,
        run_id: str,
        window: Window,
        new_tracer: Callable[[], Tracer],
        clock: Clock,
        rewrite: TraceRewrite | None = None,
    ) -> None:
        self.ranges = TraceRanges()
        self.window = window
        self.kept: tuple[int, int] | None = None
        self.problem: str | None = None
        self._folder = folder
        self._worker_name = worker_name
        self._run_id = run_id
        self._new_tracer = new_tracer
        self._clock = clock
        self._rewrite = rewrite
        self._tracer: Tracer | None = None
        self._step_range: record_function | None = None
        self._over = False
        self._compressor: Compressor | None = None

    @property
    def tracing(self) -> bool:
        """Whether the running step is slowed down by the tracer."""
        return self._tracer is not None

    def step_begins(self, step: int) -> None:
        """Warms up, or starts to keep, when the step's turn has come."""
        if self._over or step < self.window.first_warmup:
            return
        if self._tracer is None:
            self._tracer = self._new_tracer()
            self._tracer.prepare_trace()
        if step >= self.window.first_active:
            self._keep(step)

    def step_ends(self, step: int) -> None:
        """Closes the step's range; after the last step of the window, exports the trace."""
        if self._step_range is None:
            return
        self._close_step_range()
        first = self.kept[0] if self.kept else step
        self.kept = (first, step)
        if step >= self.window.last_active:
            self._export()

    def finish(self) -> None:
        """Exports what a run that ended early has kept, and waits for the compression."""
        self._close_step_range()
        if not self._over:
            self._end_early()
        if self._compressor is not None:
            self.problem = self._compressor.join() or self.problem

    def _keep(self, step: int) -> None:
        if not self.ranges.recording:
            assert self._tracer is not None
            self._tracer.start_trace()
            self.ranges.recording = True
        if self._step_range is None:
            self._step_range = record_function(f"ProfilerStep#{step}")
            self._step_range.__enter__()

    def _close_step_range(self) -> None:
        if self._step_range is not None:
            self._step_range.__exit__(None, None, None)
            self._step_range = None

    def _end_early(self) -> None:
        if self.kept is not None:
            self._export()
            return
        if self._tracer is not None:
            if not self.ranges.recording:
                self._tracer.start_trace()
            self._tracer.stop_trace()
        self.ranges.recording = False
        self._tracer, self._over = None, True
        needed = self.window.first_active
        self.problem = f"no trace: the run ended before step {needed}, the first to be kept"

    def _export(self) -> None:
        tracer = self._tracer
        assert tracer is not None
        assert self.kept is not None
        self._tracer, self._over = None, True
        self.ranges.recording = False
        tracer.add_metadata("run_id", self._run_id)
        tracer.add_metadata("steps", f"{self.kept[0]}-{self.kept[1]}")
        tracer.stop_trace()
        stamp = int(self._clock.unix_s() * 1e9)
        final = self._folder / f"{self._worker_name}.{stamp}.pt.trace.json.gz"
        plain = final.with_name(f".{final.name}.json")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            tracer.export_chrome_trace(str(plain))
        except (OSError, RuntimeError) as error:
            self.problem = f"no trace: {error}"
            discard(plain)
            return
        self._compressor = Compressor(plain, final, self._rewrite)


class Compressor:
    """Compresses a file in a thread of low priority, then gives it its name.

    `rewrite`, if given, is handed whole lines and says what is kept of them.
    """

    def __init__(self, plain: Path, final: Path, rewrite: TraceRewrite | None) -> None:
        self._plain = plain
        self._final = final
        self._rewrite = rewrite
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="trace-compressor")
        self._thread.start()

    def join(self) -> str | None:
        """Waits for the file; says what went wrong."""
        self._thread.join()
        return self._problem

    def _run(self) -> None:
        _lower_priority()
        temporary = self._final.with_name(f".{self._final.name}.tmp")
        try:
            with (
                self._plain.open("rb") as source,
                gzip.open(temporary, "wb", compresslevel=_GZIP_LEVEL) as target,
            ):
                while block := source.read(_BLOCK_BYTES) + source.readline():
                    target.write(self._rewrite(block) if self._rewrite else block)
            temporary.replace(self._final)
        except OSError as error:
            self._problem = f"no trace: {error}"
            discard(temporary)
        discard(self._plain)


def _lower_priority() -> None:
    # On Linux a thread has a priority of its own: the training goes first.
    if hasattr(os, "setpriority"):
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        except OSError as error:
            _log.debug("the trace is compressed at normal priority: %s", error)
