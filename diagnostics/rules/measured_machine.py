"""What rules look at of a machine, part of `Measurements`: cores, disks, swap, shared memory."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MachineFields:
    """Of the machine that has it worst, over the whole run; None was not sampled."""

    is_machine_sampled: bool | None = None
    """Whether the machine was sampled at all; None for a trace or a text log."""
    machine_cores: int | None = None
    busy_cores: float | None = None
    own_cores: float | None = None
    """Mean cores that the trainer and its loading processes used."""
    foreign_cores: float | None = None
    """Mean cores that others used on the same machine."""
    loader_cores: float | None = None
    """Mean cores that the loading processes of the machine used together."""
    host_cpu_p95_percent: float | None = None
    compute_threads: int | None = None
    """Threads of PyTorch in each rank of a CPU run."""
    cpu_stall_share: float | None = None
    """Time in which some task waited for a core: of the own container where it tells."""
    disk_stall_share: float | None = None
    """Time in which every task that could run waited for a disk."""
    one_core_full_share: float | None = None
    """Seconds in which one core was full and the machine less than half busy."""
    cores_quota: float | None = None
    quota_throttled_share: float | None = None
    """Time in which the container's CPU quota held its tasks back."""
    swap_in_bytes_per_s: float | None = None
    swap_used_bytes: int | None = None
    shared_memory_used_bytes: int | None = None
    shared_memory_total_bytes: int | None = None
    num_kernel_kills: int | None = None
    """Processes that the kernel killed for memory during the run, of the container or machine."""
