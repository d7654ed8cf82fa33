"""Writes the text log's step, stage, data time, memory and progress lines at their intervals."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from vrtspike.profiling import log_lines
from vrtspike.profiling.clock import Clock, SystemClock
from vrtspike.profiling.memory import MemoryFigures
from vrtspike.profiling.memory_alarm import MEMORY_RUNNING_OUT
from vrtspike.profiling.recording import RankPlace
from vrtspike.profiling.records import EventRecord, SpanRecord, StagesRecord, StepRecord
from vrtspike.profiling.run_log import RunLog
from vrtspike.profiling.settings import LogConfig
from vrtspike.profiling.step_window import StepWindow, WindowMeans


class StepLines:
    """A listener that writes lines.

    Args:
        log: Where the lines go.
        settings: The intervals.
        total_steps: Steps of the whole training, if known; needed for progress.
        first_step: The first step of this run.
        place: The rank is named in the GPU memory figure; all ranks have as many samples each.
        read_memory: Reads the figures of the memory line; called in a thread of its own, since
            the kernel takes milliseconds for each large process.
        clock: The host's clock.
    """

    def __init__(
        self,
        log: RunLog,
        settings: LogConfig,
        *,
        total_steps: int | None,
        read_memory: Callable[[], MemoryFigures],
        first_step: int = 1,
        place: RankPlace | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._log = log
        self._settings = settings
        self._total = total_steps
        self._place = place or RankPlace()
        self._steps = StepWindow()
        self._stages = StepWindow()
        self._data = StepWindow()
        self._first_step = first_step
        self._clock = clock or SystemClock()
        self._progress = Progress(total_steps, first_step, self._clock)
        self._memory = MemoryLines(log, read_memory)
        self._said: set[str] = set()

    def expect_steps(self, total: int) -> None:
        """Says how many steps the whole training has; the time of the progress starts now."""
        self._total = total
        self._progress = Progress(total, self._first_step, self._clock)

    def on_step(self, step: StepRecord, stages: Sequence[StagesRecord]) -> None:
        """Writes the lines whose turn has come."""
        every = self._settings
        for window in (self._steps, self._stages, self._data):
            window.add(step, stages)
        if step.tags:
            self._log.detail(log_lines.tags_line(step.step, step.tags))
        if step.step % every.step_every_steps == 0:
            self._write_step(self._steps.take())
        if step.step % every.stage_every_steps == 0:
            self._write_stages(self._stages.take())
        if step.step % every.data_time_every_steps == 0:
            self._write_data_time(self._data.take())
        self._memory.write_ready()
        if step.step % every.memory_every_steps == 0:
            self._memory.ask(f"Step {step.step}")
        self._write_progress(step.step)

    def on_span(self, span: SpanRecord) -> None:
        """Reads the memory once the data set is there."""
        if span.name == "dataset_creation":
            self._memory.ask("After dataset creation")
            self._memory.write_all()

    def on_event(self, event: EventRecord) -> None:
        """Says what a reader of the log would otherwise look for in vain."""
        reason = str(event.values.get("reason"))
        if event.name == "gpus_absent":
            self._log.line(log_lines.no_gpu_line(reason))
        elif event.name in ("profile_missing", "nvtx_missing"):
            self._log.line(log_lines.profile_line(reason))
        elif event.name == "profile_shortened":
            self._log.line(log_lines.shortened_line(event.values))
        elif event.name == "profile_written":
            self._log.line(log_lines.written_line(event.values))
        elif event.name == MEMORY_RUNNING_OUT:
            self._log.line(log_lines.memory_warning(event.values))
        elif event.name in ("recording_thinned", "recording_over_budget"):
            self._write_thinned(event)

    def close(self) -> None:
        """Writes the steps that no line has told of yet."""
        self._write_step(self._steps.take())
        self._write_stages(self._stages.take())
        self._memory.close()

    def _write_thinned(self, event: EventRecord) -> None:
        """Once: how the recorder goes on adapting is in the facts."""
        if event.name in self._said:
            return
        self._said.add(event.name)
        wanted = ("every_steps", "cost_share", "budget_share")
        self._log.line(log_lines.thinned_line(*(event.values.get(name) for name in wanted)))

    def _write_step(self, means: WindowMeans | None) -> None:
        if means is None:
            return
        memory = means.last.memory
        allocated = memory.device_allocated_bytes if memory else None
        step_ms = means.host_ms["step"]
        figures = log_lines.StepFigures(
            losses=means.losses,
            lr=means.last.lr,
            gpu_memory=None if allocated is None else (self._place.rank, allocated),
            samples_per_s=means.samples_per_s(self._place.world_size),
            data_ms=means.host_ms["data_wait"],
            step_ms=step_ms,
        )
        self._log.line(log_lines.step_line(means.step, self._total, figures))

    def _write_stages(self, means: WindowMeans | None) -> None:
        if means is None:
            return
        step, total, clock = means.step, self._total, means.clock
        detail = self._log.detail
        detail(log_lines.stages_line(step, total, clock, means.phases_ms, means.stages_ms))
        if means.backward_ms:
            detail(log_lines.direction_line("backward", step, total, clock, means.backward_ms))
        if means.recompute_ms:
            detail(log_lines.direction_line("recompute", step, total, clock, means.recompute_ms))

    def _write_data_time(self, means: WindowMeans | None) -> None:
        if means is not None:
            self._log.line(log_lines.data_time_line(means.host_ms["data_wait"]))

    def _write_progress(self, step: int) -> None:
        line = self._progress.line(step)
        if line is None:
            return
        if step % self._settings.progress_every_steps == 0 or step == self._total:
            self._log.progress(line)
        else:
            self._log.bar(line)


class Progress:
    """Elapsed and remaining time, by this run's own steps alone, so also right after a resume."""

    def __init__(self, total_steps: int | None, first_step: int, clock: Clock) -> None:
        self._total = total_steps
        self._done_before = first_step - 1
        self._clock = clock
        self._start_ns = clock.perf_ns()

    def line(self, step: int) -> str | None:
        """The progress line after a step; None if the end is not known."""
        if self._total is None:
            return None
        elapsed_s = (self._clock.perf_ns() - self._start_ns) / 1e9
        own_steps = step - self._done_before
        left = max(0, self._total - step)
        eta_s = elapsed_s / own_steps * left if own_steps > 0 else None
        return log_lines.progress_line(step, self._total, elapsed_s, eta_s)


class MemoryLines:
    """Reads memory beside the training and writes each line when it is there, in order."""

    def __init__(self, log: RunLog, read_memory: Callable[[], MemoryFigures]) -> None:
        self._log = log
        self._read = read_memory
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="memory-line")
        self._asked: list[tuple[str, Future[MemoryFigures]]] = []

    def ask(self, label: str) -> None:
        """Asks for the memory now; the line follows when it has been read."""
        self._asked.append((label, self._reader.submit(self._read)))

    def write_ready(self) -> None:
        """Writes the lines that have been read; never waits."""
        while self._asked and self._asked[0][1].done():
            self._write(*self._asked.pop(0))

    def write_all(self) -> None:
        """Writes every line asked for; waits."""
        while self._asked:
            self._write(*self._asked.pop(0))

    def close(self) -> None:
        """Writes what is left and ends the reader."""
        self.write_all()
        self._reader.shutdown()

    def _write(self, label: str, figures: Future[MemoryFigures]) -> None:
        self._log.line(log_lines.memory_lines(label, figures.result()))
