"""Memory of this process and its device, for the step records and the documented log line."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import psutil
import torch

from vrtspike.profiling.host_load import cgroup_memory
from vrtspike.profiling.process_tree import tree_resident_bytes
from vrtspike.profiling.records import MemoryRecord

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

STAGE_EVERY_STEPS = 50
"""A sampled step reads the allocator twice for each stage and direction, so that few are."""

Stats = dict[str, Any]
StagePeaks = dict[tuple[str, str | None], int]
"""Most bytes held by tensors while a stage ran, by phase and stage; None: outside its stages."""


class StepMemory(Protocol):
    """Reads memory at the end of a step, cheaply.

    While `sampling` is set it must hear of every part of the step that ends, so that it can say
    in which one the peak was; that costs some microseconds a part, so not every step is sampled.
    """

    sampling: bool

    def part_ends(self, phase: str, stage: str | None) -> None:
        """What ran until now was this phase, in this stage of it or outside of its stages."""
        ...

    def take_peaks(self) -> StagePeaks:
        """The peak of each part of a sampled step; empty for other steps."""
        ...

    def read(self) -> MemoryRecord:
        """Memory now; peaks since the last `reset_peak`."""
        ...

    def reset_peak(self) -> None:
        """Starts a new peak."""
        ...

    def close(self) -> None:
        """Lets go of what it reads from."""
        ...


class HostStepMemory:
    """Memory of a step without a GPU."""

    sampling = False

    def __init__(self) -> None:
        self._statm = _open_statm()

    def part_ends(self, phase: str, stage: str | None) -> None:
        """The host keeps no peak."""

    def take_peaks(self) -> StagePeaks:
        """The host keeps no peak."""
        return {}

    def read(self) -> MemoryRecord:
        """The resident memory of this process."""
        return MemoryRecord(process_rss_bytes=self.rss_bytes())

    def reset_peak(self) -> None:
        """The host keeps no peak."""

    def close(self) -> None:
        """Closes the file it reads from; `read` then takes the slower way."""
        if self._statm is not None:
            os.close(self._statm)
            self._statm = None

    def rss_bytes(self) -> int:
        """Resident memory of this process; one short read where Linux gives it."""
        if self._statm is None:
            return int(psutil.Process().memory_info().rss)
        return int(os.pread(self._statm, 256, 0).split()[1]) * _PAGE_BYTES


def _open_statm() -> int | None:
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


class CudaStepMemory(HostStepMemory):
    """Memory of a step on a GPU, by the counters of PyTorch's allocator.

    The counters are the host's own: reading them waits for nothing. They count what the host has
    allocated by now, which is what an allocation fails for.

    Args:
        device: The device whose allocator is read.
        stage_every_steps: Every so many steps, from the second on, the peak of each part is taken.
        read_stats: Gives the allocator's nested counters; replaced in tests.
        reset: Starts new peaks; replaced in tests.
    """

    def __init__(
        self,
        device: torch.device,
        stage_every_steps: int = STAGE_EVERY_STEPS,
        *,
        read_stats: Callable[[torch.device], Stats] = torch.cuda.memory.memory_stats_as_nested_dict,
        reset: Callable[[torch.device], None] = torch.cuda.reset_peak_memory_stats,
    ) -> None:
        super().__init__()
        self._device = device
        self._every = stage_every_steps
        self._read_stats = read_stats
        self._reset = reset
        self._steps = 0
        self._parts: StagePeaks = {}
        self._reserved_peak = 0

    def part_ends(self, phase: str, stage: str | None) -> None:
        """Takes the peak since the last part ended."""
        stats = self._read_stats(self._device)
        self._reset(self._device)
        part = (phase, stage)
        self._parts[part] = max(self._parts.get(part, 0), _peak(stats, "allocated_bytes"))
        self._reserved_peak = max(self._reserved_peak, _peak(stats, "reserved_bytes"))

    def read(self) -> MemoryRecord:
        """Resident memory and the allocator's counters; of a sampled step, where its peak was."""
        if self.sampling:
            self.part_ends("other", None)
        self._steps += 1
        self.sampling = self._steps % self._every == 1 % self._every
        record = allocator_record(self._read_stats(self._device), self.rss_bytes())
        if not self._parts:
            return record
        phase, stage = max(self._parts, key=lambda part: self._parts[part])
        return replace(
            record,
            device_peak_allocated_bytes=self._parts[phase, stage],
            device_peak_reserved_bytes=self._reserved_peak,
            device_peak_phase=phase,
            device_peak_stage=stage,
        )

    def take_peaks(self) -> StagePeaks:
        """The peak of each part since the last call."""
        parts, self._parts = self._parts, {}
        return parts

    def reset_peak(self) -> None:
        """Starts a new peak of the allocator."""
        self._parts, self._reserved_peak = {}, 0
        self._reset(self._device)


def _peak(stats: Stats, counter: str) -> int:
    return int(stats.get(counter, {}).get("all", {}).get("peak", 0))


def allocator_record(stats: Stats, rss_bytes: int | None) -> MemoryRecord:
    """A record from the allocator's nested counters; empty before the device is first used."""
    allocated = stats.get("allocated_bytes", {}).get("all", {})
    reserved = stats.get("reserved_bytes", {}).get("all", {})
    return MemoryRecord(
        process_rss_bytes=rss_bytes,
        device_allocated_bytes=allocated.get("current"),
        device_reserved_bytes=reserved.get("current"),
        device_peak_allocated_bytes=allocated.get("peak"),
        device_peak_reserved_bytes=reserved.get("peak"),
        device_alloc_retries=stats.get("num_alloc_retries"),
        device_inactive_split_bytes=stats.get("inactive_split_bytes", {})
        .get("all", {})
        .get("current"),
    )


def step_memory(device: torch.device) -> StepMemory:
    """The reader that fits the device."""
    return CudaStepMemory(device) if device.type == "cuda" else HostStepMemory()


@dataclass(frozen=True, kw_only=True)
class MemoryFigures:
    """What the documented memory line says; sizes in bytes.

    `process_bytes` is the whole process tree, each shared page counted once where the kernel
    tells. `pressure_percent` is the fuller of the machine and its container. `reducible` is what a
    warning advises to reduce.
    """

    process_bytes: int
    system_used_bytes: int
    system_total_bytes: int
    system_percent: float
    pressure_percent: float
    device_allocated_bytes: int | None = None
    device_reserved_bytes: int | None = None
    reducible: str = "CACHE_SIZE_GB or TOTAL_WORKERS in config"


def read_memory_figures(device: torch.device, root_pid: int | None = None) -> MemoryFigures:
    """Memory of the machine, of a process tree and of a device, now.

    Args:
        device: A CUDA device adds its allocator's figures.
        root_pid: Top of the process tree; by default this process.
    """
    ram = psutil.virtual_memory()
    cgroup = cgroup_memory(ram.total)
    limited = 100.0 * cgroup.used_bytes / cgroup.limit_bytes if cgroup else 0.0
    on_gpu = device.type == "cuda"
    return MemoryFigures(
        process_bytes=tree_resident_bytes(root_pid or os.getpid()),
        system_used_bytes=ram.used,
        system_total_bytes=ram.total,
        system_percent=ram.percent,
        pressure_percent=max(ram.percent, limited),
        device_allocated_bytes=torch.cuda.memory_allocated(device) if on_gpu else None,
        device_reserved_bytes=torch.cuda.memory_reserved(device) if on_gpu else None,
    )
