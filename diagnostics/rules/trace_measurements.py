"""The numbers of profiler traces that rules look at: one flat record of all traces of a run.

Times are ms in each step of the traces, shares are of their window; over several ranks they are
means. None means that the traces do not say. A case of a rule is a few of these fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class TraceMeasurements:
    """What the traces of a run show of its steps."""

    source: str = "trace"
    """The file, or how many there are."""
    num_steps: int = 0
    step_ms: float = 0.0
    """The time of a step by the device's clock: until the work that it launched has ended."""
    has_device: bool = True
    """Whether work of a device is in the traces."""
    has_stacks: bool = False

    loads_in_process: bool | None = None
    """The program itself made the batches, without loader processes."""
    data_exposed_ms: float | None = None
    """Wait for data during which the device was idle."""

    busy_share: float | None = None
    idle_share: float | None = None
    idle_ms: Mapping[str, float] = field(default_factory=dict)
    """Idle time by what the launching thread did, the causes of `trace_idle`."""
    idle_where: Mapping[str, str] = field(default_factory=dict)
    """The operator or the line of the program behind most of it."""

    communication_ms: float | None = None
    communication_exposed_ms: float | None = None
    collective: str = ""
    """The exchange that took longest."""
    backend: str | None = None
    num_devices: int | None = None
    """Devices that have work in one trace."""
    is_data_parallel: bool = False
    """`torch.nn.DataParallel` ran: one process with threads for several devices."""

    to_device_ms: float | None = None
    to_device_exposed_ms: float | None = None
    to_device_bytes: float | None = None
    pageable_share: float | None = None
    """Of the bytes copied to the device, those from memory that is not pinned."""
    to_host_copies: float | None = None
    to_host_ms: float | None = None

    sync_calls: float | None = None
    sync_idle_ms: float | None = None
    sync_name: str = ""
    sync_where: str = ""
    allocator_calls: float | None = None
    allocator_idle_ms: float | None = None
    allocator_name: str = ""

    kernels: float | None = None
    kernel_ms: float | None = None
    short_kernel_share: float | None = None
    median_kernel_us: float | None = None
    queued_gap_ms: float | None = None
    """Idle time between kernels that were launched in time: what the device needs between two."""
    tensor_core_share: float | None = None
    """Of kernel time, that of kernels known to run on tensor cores."""
    eligible_ms: float | None = None
    """Time of kernels of operators that tensor cores can do and that did not run on them."""
    copying_ms: float | None = None
    copying_kernels: float | None = None
    filled_share: float | None = None
    """Multiprocessors with work while a kernel runs, estimated from its blocks."""

    optimizer_launches: float | None = None
    optimizer_idle_ms: float | None = None
    optimizer_fused_share: float | None = None
    zero_grad_launches: float | None = None
    zero_grad_ms: float | None = None
    """Idle and device time of clearing the gradients."""

    def share(self, ms: float | None) -> float | None:
        """A time as a share of the step."""
        return None if ms is None or not self.step_ms else ms / self.step_ms
