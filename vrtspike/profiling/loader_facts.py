"""Where the batches of each step come from: the wait, the queue, the making, the copy.

`LoaderFacts` is a part of the recorder. The loop that owns a loader lets it watch the fetches
(`fetches`) and tells it what it copies (`copied`). Nobody who is not recorded pays for it: until
the recorder starts the part, and after its end, nothing is kept.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from vrtspike.profiling.loading_clock import (
    BatchTiming,
    LoadingClock,
    PerfNs,
    TimedBatch,
    unpack_timing,
)
from vrtspike.profiling.parts import NO_FIELDS, PartHost, RecorderPart, StepFields
from vrtspike.profiling.records import CopyRecord, FetchRecord, LoaderRecord

_MAX_FETCHES = 4096
"""Fetches of one step that are kept; more are no accumulation but a step that never ends."""
_MAX_NESTING, _MAX_ITEMS = 8, 1000


class LoaderFacts(RecorderPart):
    """Adds `loader` and `copy` to the record of each step.

    Args:
        device: Where the batches go; on a CPU nothing is copied, and `copy` stays null.
        clock: Times the parts of a batch in the process that makes it: for the data set and the
            collation of the loader that is watched, where the loop builds them itself.
        perf_ns: The host's monotonic clock, in ns; the same as the clock's.
    """

    def __init__(
        self,
        device: torch.device | None = None,
        *,
        clock: LoadingClock | None = None,
        perf_ns: PerfNs = time.perf_counter_ns,
    ) -> None:
        self.clock = clock or LoadingClock(perf_ns=perf_ns)
        self._perf_ns = perf_ns
        self._copies = device is not None and device.type != "cpu"
        self._recording = False
        self._fetches: list[FetchRecord] = []
        self._part_ns: dict[str, int] = {}
        self._bytes = 0
        self._pinned_bytes = 0

    def start(self, host: PartHost) -> None:
        """From now on fetches and copies are kept until the step's end."""
        self._recording = True

    def finish(self) -> None:
        """Keeps nothing any more."""
        self._recording = False
        self._forget()

    def step_ends(self, step: int) -> StepFields:
        """What was fetched and copied since the last step."""
        fields: dict[str, Any] = {}
        if self._fetches:
            part_ms = {name: ns / 1e6 for name, ns in self._part_ns.items()}
            fields["loader"] = LoaderRecord(fetches=tuple(self._fetches), part_ms=part_ms or None)
        if self._copies and self._bytes:
            fields["copy"] = CopyRecord(bytes=self._bytes, pinned_bytes=self._pinned_bytes)
        self._forget()
        return {name: _already(value) for name, value in fields.items()} or NO_FIELDS

    def fetches(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches of a running loader, each fetch noted; what a timed collation added is off.

        Args:
            batches: `iter(loader)`; its queue is looked at where it has one.
        """
        is_first = True
        while True:
            ready = batches_ready(batches)
            asked_ns = self._perf_ns()
            try:
                batch = next(batches)
            except StopIteration:
                return
            timing = None
            if isinstance(batch, TimedBatch):
                batch, timing = batch.batch, unpack_timing(batch.timing)
            if self._recording and len(self._fetches) < _MAX_FETCHES:
                self._note(asked_ns, self._perf_ns(), ready, timing, is_first=is_first)
            is_first = False
            yield batch

    def copied(self, tensors: Iterable[Tensor]) -> None:
        """The step copies these tensors of the host to its device."""
        if not (self._recording and self._copies):
            return
        for tensor in tensors:
            if tensor.device.type == "cpu":
                size = tensor.numel() * tensor.element_size()
                self._bytes += size
                self._pinned_bytes += size if tensor.is_pinned() else 0

    def _note(
        self,
        asked_ns: int,
        got_ns: int,
        ready: int | None,
        timing: BatchTiming | None,
        *,
        is_first: bool,
    ) -> None:
        wait_ms = (got_ns - asked_ns) / 1e6
        if timing is None:
            self._fetches.append(FetchRecord(wait_ms=wait_ms, ready=ready, is_first=is_first))
            return
        for name, ns in timing.part_ns.items():
            self._part_ns[name] = self._part_ns.get(name, 0) + ns
        is_queued = timing.worker is not None
        self._fetches.append(
            FetchRecord(
                wait_ms=wait_ms,
                ready=ready,
                worker=timing.worker,
                samples=timing.samples,
                made_ms=timing.made_ns / 1e6,
                queued_ms=max(0, got_ns - timing.done_ns) / 1e6 if is_queued else None,
                is_first=is_first,
            )
        )

    def _forget(self) -> None:
        self._fetches, self._part_ns = [], {}
        self._bytes = self._pinned_bytes = 0


def batches_ready(batches: object) -> int | None:
    """Finished batches that wait for the trainer; pinned ones where a thread pins them.

    None where there is no queue, or where this PyTorch or this system does not tell: the queue and
    the list of early batches are private to PyTorch's iterator.
    """
    queue, tasks = getattr(batches, "_data_queue", None), getattr(batches, "_task_info", None)
    if queue is None or not isinstance(tasks, dict):
        return None
    try:
        # A batch that came before its turn was taken from the queue and waits in the list.
        return int(queue.qsize()) + sum(len(task) == 2 for task in tasks.values())
    except (AttributeError, NotImplementedError, OSError, TypeError, ValueError):
        return None


def tensors_of(batch: Any, depth: int = 0) -> Iterator[Tensor]:
    """The tensors of a batch, in mappings, lists, tuples and dataclasses; a long list is cut."""
    if isinstance(batch, Tensor):
        yield batch
    elif depth < _MAX_NESTING and not isinstance(batch, str | bytes):
        for item in islice(_items(batch), _MAX_ITEMS):
            yield from tensors_of(item, depth + 1)


def _items(batch: Any) -> Iterable[Any]:
    if isinstance(batch, Mapping):
        return batch.values()
    if isinstance(batch, list | tuple):
        return batch
    return vars(batch).values() if is_dataclass(batch) and hasattr(batch, "__dict__") else ()


def _already(value: object) -> Any:
    return lambda: value
