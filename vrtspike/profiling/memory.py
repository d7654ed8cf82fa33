"""Memory of this process and its device, for the step records and the documented log line."""

import os
from dataclasses import dataclass
from typing import Any, Protocol

import psutil
import torch

from vrtspike.profiling.host_load import cgroup_memory
from vrtspike.profiling.process_tree import tree_resident_bytes
from vrtspike.profiling.records import MemoryRecord

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class StepMemory(Protocol):
    """Reads memory at the end of a step, cheaply."""

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

    def __init__(self) -> None:
        self._statm = _open_statm()

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
    """Memory of a step on a GPU, by the counters of PyTorch's allocator."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def read(self) -> MemoryRecord:
        """Resident memory and the allocator's counters."""
        stats: dict[str, Any] = torch.cuda.memory.memory_stats_as_nested_dict(self._device)
        return allocator_record(stats, self.rss_bytes())

    def reset_peak(self) -> None:
        """Starts a new peak of the allocator."""
        torch.cuda.reset_peak_memory_stats(self._device)


def allocator_record(stats: dict[str, Any], rss_bytes: int | None) -> MemoryRecord:
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
