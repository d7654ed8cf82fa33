"""TensorBoard scalars of a run, one point for each window of steps."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from vrtspike.profiling.clock import Clock, SystemClock
from vrtspike.profiling.records import MemoryRecord, SpanRecord, StagesRecord, StepRecord
from vrtspike.profiling.step_window import StepWindow, WindowMeans

_log = logging.getLogger(__name__)
_MIB = 1024**2


class TensorboardScalars:
    """A listener that writes scalars beside the facts.

    Times are means over the untagged steps of a window, as in the text log. A folder that cannot
    be written to costs the scalars, never the training.

    Args:
        folder: The run's folder of facts.
        every_steps: Steps between two points.
        world_size: Ranks, each with as many samples as this one.
        host: Part of the file's name.
        clock: Dates the points.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_steps: int = 10,
        world_size: int = 1,
        host: str = "host",
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._every_steps = every_steps
        self._world_size = world_size
        self._window = StepWindow()
        name = f"events.out.tfevents.{int(self._clock.unix_s())}.{host}.{os.getpid()}"
        self._path = folder / name
        self._file: BinaryIO | None = None
        self._records: RecordWriter | None = None
        self._open()

    def on_step(self, step: StepRecord, stages: Sequence[StagesRecord]) -> None:
        """Writes a point when its turn has come."""
        self._window.add(step, stages)
        if step.step % self._every_steps == 0:
            self._write_window()

    def on_span(self, span: SpanRecord) -> None:
        """Writes how long a span took, and what a validation found."""
        found = span.values if span.name == "validation" else {}
        numbers = {
            f"val/{name.lower()}": float(value)
            for name, value in found.items()
            if isinstance(value, int | float)
        }
        self._write(span.step, {f"time/{span.name}_ms": span.host_ms, **numbers})

    def close(self) -> None:
        """Writes the last window and closes the file."""
        self._write_window()
        self._close_file()

    def _write_window(self) -> None:
        means = self._window.take()
        if means is not None:
            self._write(means.step, step_scalars(means, self._world_size))

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:  # whoever writes the facts there says so
            _log.debug("no folder for TensorBoard scalars: %s", self._path.parent)
            return
        try:
            self._file = self._path.open("ab")
            self._records = RecordWriter(self._file)
            self._append(Event(wall_time=self._clock.unix_s(), file_version="brain.Event:2"))
        except OSError as error:
            self._give_up(error)

    def _write(self, step: int, scalars: Mapping[str, float]) -> None:
        if self._records is None:
            return
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        event = Event(
            wall_time=self._clock.unix_s(), step=max(0, step), summary=Summary(value=values)
        )
        try:
            self._append(event)
        except OSError as error:
            self._give_up(error)

    def _append(self, event: Event) -> None:
        assert self._records is not None
        assert self._file is not None
        self._records.write(event.SerializeToString())
        self._file.flush()

    def _give_up(self, error: OSError) -> None:
        _log.warning("no TensorBoard scalars in %s: %s. Training goes on.", self._path, error)
        self._close_file()

    def _close_file(self) -> None:
        file, self._file, self._records = self._file, None, None
        if file is not None:
            try:
                file.close()
            except OSError:
                _log.debug("the last TensorBoard point is lost")


def step_scalars(means: WindowMeans, world_size: int) -> dict[str, float]:
    """Scalars of one window by TensorBoard tag; the unit is in the tag."""
    step_ms = means.host_ms["step"]
    samples_per_s = means.samples_per_s(world_size)
    scalars = {"time/step_ms": step_ms, "data/data_wait_ms": means.host_ms["data_wait"]}
    phases = {name: ms for name, ms in means.phases_ms.items() if name != "step"}
    scalars |= {f"phases_ms/{name}": ms for name, ms in phases.items()}
    scalars |= {f"stages_ms/{name}": ms for name, ms in means.stages_ms.items()}
    scalars |= {f"stages_backward_ms/{name}": ms for name, ms in means.backward_ms.items()}
    scalars |= {f"stages_recompute_ms/{name}": ms for name, ms in means.recompute_ms.items()}
    if samples_per_s is not None:
        scalars["throughput/samples_per_s"] = samples_per_s
    scalars |= {f"train/{name}": value for name, value in means.losses.items()}
    last = means.last
    optional = {"train/lr": last.lr, "train/grad_norm": last.grad_norm}
    scalars |= {tag: value for tag, value in optional.items() if value is not None}
    return scalars | _memory_scalars(last.memory)


def _memory_scalars(memory: MemoryRecord | None) -> dict[str, float]:
    if memory is None:
        return {}
    sizes = {
        "memory/process_rss_mib": memory.process_rss_bytes,
        "memory/device_allocated_mib": memory.device_allocated_bytes,
        "memory/device_reserved_mib": memory.device_reserved_bytes,
        "memory/device_peak_allocated_mib": memory.device_peak_allocated_bytes,
    }
    return {tag: size / _MIB for tag, size in sizes.items() if size is not None}
