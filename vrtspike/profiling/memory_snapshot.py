"""What the device's allocator holds and who asked for it, as a file for PyTorch's memory viewer.

Open `memory/*.pickle` at https://pytorch.org/memory_viz. Needs `PROFILING.MEMORY_HISTORY`, since
remembering the stack of every allocation costs time (about a microsecond each, Python frames
alone) and memory (bounded by the number of entries). There is no allocator to ask without a GPU.
"""

import logging
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from vrtspike.profiling.jsonl_writer import discard

_log = logging.getLogger(__name__)
_PROTOCOL = 4
"""The newest that the viewer's reader in the browser understands."""
MAX_BYTES = 256 << 20
MAX_SNAPSHOTS = 4
_TRACES = "device_traces"


class Allocator(Protocol):
    """What is used of `torch.cuda.memory`."""

    def _record_memory_history(self, enabled: str | None, **options: Any) -> None: ...

    def _snapshot(self, device: Any = None) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Snapshot:
    """A file that was written, or why there is none."""

    path: Path | None
    problem: str | None = None


class MemorySnapshots:
    """Remembers allocations from `start` to `close` and writes them down when asked.

    Args:
        folder: Where the files go; made with the first of them.
        rank: Part of their names.
        device: Whose allocator; only CUDA has one that can be asked.
        entries: How many allocations and frees are remembered; 0 remembers none.
        allocator: Replaced in tests.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        device: torch.device,
        entries: int,
        allocator: Allocator | None = None,
    ) -> None:
        self._folder = folder
        self._rank = rank
        self._device = device
        self._entries = entries
        self._allocator = allocator or cast("Allocator", torch.cuda.memory)
        self._written = 0
        self.problem = self._why_none()

    def _why_none(self) -> str | None:
        if self._device.type != "cuda":
            return "no memory snapshot: there is no device allocator on the CPU"
        if not self._entries:
            return "no memory snapshot: PROFILING.MEMORY_HISTORY is 0"
        return None

    def start(self) -> None:
        """Starts to remember."""
        if self.problem is not None:
            return
        try:
            self._allocator._record_memory_history(
                "all", stacks="python", max_entries=self._entries
            )
        except (RuntimeError, TypeError, AttributeError) as error:  # an API without a promise
            self.problem = f"no memory snapshot: PyTorch keeps no history: {error}"

    def take(self, reason: str, unix_s: float) -> Snapshot:
        """Writes a file, or says why not."""
        if self.problem is not None:
            return Snapshot(None, self.problem)
        if self._written >= MAX_SNAPSHOTS:
            return Snapshot(None, f"no memory snapshot: {MAX_SNAPSHOTS} of this run are there")
        try:
            content = self._allocator._snapshot(self._device)
        except (RuntimeError, AttributeError) as error:
            return Snapshot(None, f"no memory snapshot: {error}")
        path = self._folder / f"{int(unix_s)}_{reason}.rank{self._rank}.pickle"
        problem = write_bounded(path, content, MAX_BYTES)
        self._written += problem is None
        return Snapshot(None if problem else path, problem)

    def close(self) -> None:
        """Stops to remember."""
        if self.problem is None:
            try:
                self._allocator._record_memory_history(None)
            except RuntimeError as error:
                _log.debug("the allocator goes on remembering: %s", error)


class _TooLargeError(Exception):
    pass


def write_bounded(path: Path, content: dict[str, Any], max_bytes: int) -> str | None:
    """Writes a snapshot whole or not at all; says what went wrong.

    While it is too large, the older half of the remembered history goes; what is held, stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while not _write(temporary, content, max_bytes):
            traces = content.get(_TRACES) or []
            if not any(traces):
                discard(temporary)
                return f"no memory snapshot: larger than {max_bytes >> 20} MiB without its history"
            content = {**content, _TRACES: [list(each)[(len(each) + 1) // 2 :] for each in traces]}
        temporary.replace(path)
    except OSError as error:
        discard(temporary)
        return f"no memory snapshot: {error}"
    return None


def _write(path: Path, content: dict[str, Any], max_bytes: int) -> bool:
    """False where the file would be larger than allowed."""
    with path.open("wb") as file:
        try:
            pickle.Pickler(_Limited(file.write, max_bytes), _PROTOCOL).dump(content)
        except _TooLargeError:
            return False
    return True


class _Limited:
    """A file that refuses more bytes than allowed."""

    def __init__(self, write: Callable[[bytes], int], left: int) -> None:
        self._write = write
        self._left = left

    def write(self, data: bytes) -> int:
        self._left -= memoryview(data).nbytes
        if self._left < 0:
            raise _TooLargeError
        return self._write(data)
