"""The records of a facts folder as this reader accepts them: typed, bounded, unknown keys ignored.

The trainer's own declaration is described in `docs/records.md`; the two meet only in the files.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

SCHEMA_VERSION = 1

# 2**53: the largest range in which a float64 column still holds every integer.
Count = Annotated[int, Meta(ge=0, le=2**53)]
Real = Annotated[float, Meta(ge=-1e18, le=1e18)]
Milliseconds = Annotated[float, Meta(ge=0, le=1e12)]
UnixSeconds = Annotated[float, Meta(ge=0, le=1e11)]
Name = Annotated[str, Meta(max_length=200)]
Clock = Literal["device", "host"]
Values = dict[str, float | int | str | None]


class MemoryRecord(Struct):
    """Memory at the end of a step."""

    process_rss_bytes: Count | None = None
    device_allocated_bytes: Count | None = None
    device_reserved_bytes: Count | None = None
    device_peak_allocated_bytes: Count | None = None
    device_peak_reserved_bytes: Count | None = None
    device_alloc_retries: Count | None = None
    device_inactive_split_bytes: Count | None = None
    device_peak_phase: Name | None = None
    device_peak_stage: Name | None = None


class FetchRecord(Struct):
    """One fetch of a batch."""

    wait_ms: Milliseconds
    ready: Count | None = None
    worker: Count | None = None
    samples: Count | None = None
    made_ms: Milliseconds | None = None
    queued_ms: Milliseconds | None = None
    is_first: bool | None = None


class LoaderRecord(Struct):
    """Where the step's batches came from."""

    fetches: tuple[FetchRecord, ...] = ()
    part_ms: dict[Name, Milliseconds] | None = None


class CopyRecord(Struct):
    """What a step copied to its device."""

    bytes: Count
    pinned_bytes: Count


class CommunicationRecord(Struct):
    """What one rank exchanged with the others in a step, and how long it waited for them."""

    clock: Clock
    buckets: Count
    bytes: Count
    exchanges: Count
    ms: Milliseconds
    exposed_ms: Milliseconds
    launch_ms: Milliseconds
    wait_ms: Milliseconds


class _Line(Struct, tag_field="kind", kw_only=True):
    """A line of JSON; a line of another schema is rejected, because its keys mean other things."""

    schema: Literal[1] = 1


class StepRecord(_Line, tag="step", kw_only=True):
    """One optimizer step of one rank."""

    step: Count
    start_unix_s: UnixSeconds
    micro_batches: Count
    samples: Count | None = None
    clock: Clock
    host_ms: dict[Name, Milliseconds]
    device_ms: dict[Name, Milliseconds] | None = None
    tags: tuple[Name, ...] = ()
    loss: Real | None = None
    lr: Real | None = None
    grad_norm: Real | None = None
    nonfinite: dict[Name, Name] = msgspec.field(default_factory=dict)
    memory: MemoryRecord | None = None
    recorder_ms: Milliseconds | None = None
    loader: LoaderRecord | None = None
    copy: CopyRecord | None = None
    communication: CommunicationRecord | None = None


class StagesRecord(_Line, tag="stages", kw_only=True):
    """The stages of one step's forward, backward or recomputation."""

    step: Count
    phase: Literal["forward", "backward", "recompute"]
    clock: Clock
    ms: dict[Name, Milliseconds]
    calls: dict[Name, Count] = msgspec.field(default_factory=dict)
    peak_allocated_bytes: dict[Name, Count] | None = None


class SpanRecord(_Line, tag="span", kw_only=True):
    """What took time outside the steps."""

    name: Name
    step: Count
    start_unix_s: UnixSeconds
    host_ms: Milliseconds
    values: Values = msgspec.field(default_factory=dict)


class EventRecord(_Line, tag="event", kw_only=True):
    """A point in time; without a step where the writer knows of none."""

    name: Name
    step: Count | None = None
    at_unix_s: UnixSeconds
    values: Values = msgspec.field(default_factory=dict)


class ProcessRecord(Struct):
    """One process of the trainer's tree."""

    pid: Count
    role: Name
    name: Name
    rss_bytes: Count
    shared_bytes: Count | None = None
    pss_bytes: Count | None = None
    uss_bytes: Count | None = None
    pss_shm_bytes: Count | None = None
    swap_bytes: Count | None = None
    written_bytes: Count | None = None
    storage_read_bytes: Count | None = None
    rank: Count | None = None
    cpu_percent: Real | None = None


class HostRecord(Struct):
    """The load of the machine."""

    ram_total_bytes: Count
    ram_available_bytes: Count
    ram_percent: Real
    cpu_percent: Real | None = None
    shm_total_bytes: Count | None = None
    shm_used_bytes: Count | None = None
    core_percent: Annotated[tuple[Real, ...], Meta(max_length=8192)] | None = None
    cpus_allowed: Count | None = None
    swap_total_bytes: Count | None = None
    swap_used_bytes: Count | None = None
    swap_in_bytes: Count | None = None
    swap_out_bytes: Count | None = None
    page_cache_bytes: Count | None = None
    shmem_bytes: Count | None = None
    oom_kills: Count | None = None
    disk_read_bytes: Count | None = None
    disk_write_bytes: Count | None = None
    pressure_cpu_some_us: Count | None = None
    pressure_memory_some_us: Count | None = None
    pressure_memory_full_us: Count | None = None
    pressure_io_some_us: Count | None = None
    pressure_io_full_us: Count | None = None
    cgroup_version: Count | None = None
    cgroup_limit_bytes: Count | None = None
    cgroup_used_bytes: Count | None = None
    cgroup_oom_kills: Count | None = None
    cgroup_cores_quota: Real | None = None
    cgroup_cpu_throttled_us: Count | None = None
    cgroup_pressure_cpu_some_us: Count | None = None
    cgroup_pressure_memory_some_us: Count | None = None
    cgroup_pressure_memory_full_us: Count | None = None
    cgroup_pressure_io_some_us: Count | None = None
    cgroup_pressure_io_full_us: Count | None = None


class GpuRecord(Struct):
    """One GPU, or one instance of a divided one."""

    index: Count
    mig_index: Count | None = None
    uuid: Name | None = None
    name: Name | None = None
    util_percent: Real | None = None
    memory_util_percent: Real | None = None
    memory_used_bytes: Count | None = None
    memory_total_bytes: Count | None = None
    power_w: Real | None = None
    power_limit_w: Real | None = None
    energy_j: Real | None = None
    temperature_c: Real | None = None
    sm_clock_mhz: Real | None = None
    memory_clock_mhz: Real | None = None
    throttle_reasons: Count | None = None
    pcie_tx_bytes_per_s: Real | None = None
    pcie_rx_bytes_per_s: Real | None = None
    sm_active_percent: Real | None = None
    sm_occupancy_percent: Real | None = None
    tensor_active_percent: Real | None = None
    dram_active_percent: Real | None = None
    nvlink_tx_bytes_per_s: Real | None = None
    nvlink_rx_bytes_per_s: Real | None = None
    error: Name | None = None


class SamplerRecord(Struct):
    """What sampling itself has cost so far."""

    interval_s: Annotated[float, Meta(gt=0, le=1e6)]
    cpu_s: Annotated[float, Meta(ge=0, le=1e9)]
    pss_cpu_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    missed: Count = 0
    lost_lines: Count = 0


class ResourceRecord(_Line, tag="resources", kw_only=True):
    """One sample of the machine."""

    at_unix_s: UnixSeconds
    host: HostRecord
    processes: tuple[ProcessRecord, ...] = ()
    gpus: tuple[GpuRecord, ...] | None = None
    gpus_absent_reason: str | None = None
    sampler: SamplerRecord | None = None


class RunRecord(Struct):
    """`meta.json`."""

    run_id: Name
    started_at: Name
    status: Literal["running", "finished", "interrupted", "failed"]
    ended_at: Name | None = None
    host: Name | None = None
    pid: Count | None = None
    argv: tuple[str, ...] = ()
    log: str | None = None
    world_size: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    clock: Clock = "host"
    device: dict[str, str | int | None] = msgspec.field(default_factory=dict)
    versions: dict[str, str | None] = msgspec.field(default_factory=dict)
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    phases: tuple[Name, ...] = ()
    stages: tuple[Name, ...] = ()
    resumed_from: str | None = None
    first_step: Count = 1
    total_steps: Count | None = None
    samples_per_step: Count | None = None
    profiled_steps: tuple[Count, Count] | None = None
    lost_lines: Count = 0
    redacted: bool = False
    trainer: Literal["vrtspike", "own"] = "vrtspike"
    name: Name | None = None


class SchemaOnly(Struct):
    """The one key that must be understood before all others."""

    schema: int | None = None


LineRecord = StepRecord | StagesRecord | SpanRecord | EventRecord | ResourceRecord
