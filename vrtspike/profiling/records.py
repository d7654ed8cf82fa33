"""The contract between the trainer and the tools: every record a run leaves on disk.

`docs/records.md` describes the same files for readers. A record is one JSON object on one line.
Times in a record are milliseconds (`_ms`) or seconds since the epoch (`_unix_s`); sizes are
bytes. A value that could not be measured is null, never 0. Readers must ignore unknown keys;
`SCHEMA_VERSION` changes when the meaning of a key changes. Needs no PyTorch.
"""

import json
from dataclasses import dataclass, field, is_dataclass
from math import isfinite
from typing import Any, ClassVar, Literal

import msgspec

from vrtspike.profiling.machine_records import GpuRecord as GpuRecord
from vrtspike.profiling.machine_records import HostRecord as HostRecord
from vrtspike.profiling.machine_records import MachineEventRecord, SamplerRecord
from vrtspike.profiling.machine_records import ProcessRecord as ProcessRecord

SCHEMA_VERSION = 1

PHASES = ("data_wait", "h2d", "forward", "loss", "backward", "optimizer", "other")
"""The phases of an optimizer step; siblings that sum to the step."""

MEASURED_PHASES = PHASES[:-1]
"""The phases that a trainer opens; `other` is what they leave of the step."""

FORWARD_OTHER = "forward.other"
"""What the forward spends outside its named stages."""

BACKWARD_OTHER = "backward.other"
"""What the backward spends outside its named stages, recomputation apart."""

RECOMPUTE_OTHER = "recompute.other"
"""Recomputation outside the named stages."""

OTHERS = (FORWARD_OTHER, BACKWARD_OTHER, RECOMPUTE_OTHER)

STEP_TAGS = ("first", "compile", "validation", "checkpoint", "gc", "profiled")
"""Marks of a step that statistics leave out: what happened in it, or directly before it."""

LOADING_PARTS = ("read", "decode", "voxelise", "augment", "collate")
"""What the making of a batch consists of."""

LOADING_OTHER = "other"
"""What it spends outside these."""

Clock = Literal["device", "host"]
Milliseconds = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class MemoryRecord:
    """Memory at the end of a step: of the process, and of its device's allocator if it has one.

    `device_inactive_split_bytes` is held in split blocks that no tensor uses: with the rest of what
    is reserved and not allocated it is the fragmentation. `device_peak_phase` and
    `device_peak_stage` say where in the step the peak of what is allocated was; null in steps that
    were not sampled for it, and the stage also where the peak was outside the stages.
    """

    process_rss_bytes: int | None = None
    device_allocated_bytes: int | None = None
    device_reserved_bytes: int | None = None
    device_peak_allocated_bytes: int | None = None
    device_peak_reserved_bytes: int | None = None
    device_alloc_retries: int | None = None
    device_inactive_split_bytes: int | None = None
    device_peak_phase: str | None = None
    device_peak_stage: str | None = None


@dataclass(frozen=True, kw_only=True)
class FetchRecord:
    """One `next(loader)`: how long it waited, and for what.

    `ready` counts batches that were finished when it began; null without loading processes or where
    PyTorch does not tell. `worker` is the process that made the batch, null where the trainer made
    it itself or it is unknown. `made_ms` is what making the batch of `samples` took there;
    `queued_ms` runs from its end until the trainer had the batch: hand-over, pinning, waiting.
    `is_first` says that the loader had just been started: an epoch began, or the run.
    """

    wait_ms: float
    ready: int | None = None
    worker: int | None = None
    samples: int | None = None
    made_ms: float | None = None
    queued_ms: float | None = None
    is_first: bool = False


@dataclass(frozen=True, kw_only=True)
class LoaderRecord:
    """Where the step's batches came from.

    `part_ms` sums over the fetches with a `made_ms`; its values (`read, decode, voxelise, augment,
    collate, other`) sum to theirs. It is null where no fetch was timed.
    """

    fetches: tuple[FetchRecord, ...]
    part_ms: Milliseconds | None = None


@dataclass(frozen=True, kw_only=True)
class CopyRecord:
    """What a step copied to its device; only pinned bytes are copied while the host goes on."""

    bytes: int
    pinned_bytes: int


@dataclass(frozen=True, kw_only=True)
class CommunicationRecord:
    """How the ranks exchanged gradients in one step, and how long this one waited for the others.

    An exchange is an all-reduce of one of `buckets`. `exchanges` counts the backward passes that
    ended in one: 1, also under accumulation. `ms` is the time in which any exchange was under way,
    from launch to completion, late ranks waited for; `exposed_ms` is the part after the last
    gradient was there, when nothing was left to compute; the rest was hidden behind the backward.
    `launch_ms` lies between a bucket's gradients and the launch of its exchange (compression, a
    slow hook). `wait_ms` is the time in the trainer's own collectives. All times are by `clock`.
    """

    clock: Clock
    buckets: int
    bytes: int
    exchanges: int
    ms: float
    exposed_ms: float
    launch_ms: float
    wait_ms: float


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One optimizer step of one rank; a line of `steps.rankN.jsonl`.

    `host_ms` maps every phase, and `step`, to wall-clock time on the host; `device_ms` does so by
    CUDA events and is null without a GPU. The two are never added. `samples` counts clips of this
    rank, null where the loop does not say; `start_unix_s` is the host's time at the start of the
    step. A loss or gradient norm that is not a number is null and named in `nonfinite`, as in
    `{"loss": "nan"}`. `loader` is null where nothing watched the loader, `copy` where nothing is
    copied to a device. `recorder_ms` is what the recorder itself spent on the host since the end of
    the step before; it lies within `host_ms`, in the phases in which it was spent.
    """

    kind: ClassVar[str] = "step"
    step: int
    start_unix_s: float
    micro_batches: int
    samples: int | None = None
    clock: Clock
    host_ms: Milliseconds
    device_ms: Milliseconds | None = None
    tags: tuple[str, ...] = ()
    loss: float | None = None
    loss_terms: dict[str, float] = field(default_factory=dict)
    lr: float | None = None
    grad_norm: float | None = None
    nonfinite: dict[str, str] = field(default_factory=dict)
    memory: MemoryRecord | None = None
    loader: LoaderRecord | None = None
    copy: CopyRecord | None = None
    recorder_ms: float | None = None
    communication: CommunicationRecord | None = None


@dataclass(frozen=True, kw_only=True)
class StagesRecord:
    """The stages of one step's forward, backward or recomputation; `spans.rankN.jsonl`.

    `ms` sums over the step's micro-batches; `calls` counts the calls of each stage (those whose
    backward ran; the runs of what was recomputed). A stage that never ran has 0 calls and is absent
    from `ms`. `clock` tells whether `ms` is CUDA-event time or host time. A stage called inside
    another one counts for itself alone. For the forward, `ms` holds `forward.other`, so that its
    values sum to the forward phase of the same clock; for the backward, `backward.other`, so that
    its values and those of the recomputation sum to the backward phase. `recompute.other` is what
    was recomputed outside the stages. A step that recomputed nothing has no record of it.
    `peak_allocated_bytes` is the most that tensors held while a stage ran, the rest included; null
    in steps that were not sampled for it, and without a GPU.
    """

    kind: ClassVar[str] = "stages"
    step: int
    phase: Literal["forward", "backward", "recompute"]
    clock: Clock
    ms: Milliseconds
    calls: dict[str, int]
    peak_allocated_bytes: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class SpanRecord:
    """A span outside the steps: validation, checkpoint, data set creation; `spans.rankN.jsonl`."""

    kind: ClassVar[str] = "span"
    name: str
    step: int
    start_unix_s: float
    host_ms: float
    values: dict[str, float | int | str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """Something worth knowing at a point in time: NaN, out of memory, cache statistics."""

    kind: ClassVar[str] = "event"
    name: str
    step: int
    at_unix_s: float
    values: dict[str, float | int | str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ResourceRecord:
    """One sample of the machine; a line of `resources.<host>.jsonl`, null values left out.

    `gpus` is null when there is no GPU to sample; `gpus_absent_reason` then says why. It is empty
    in a sample that the driver answered too late for.
    """

    kind: ClassVar[str] = "resources"
    at_unix_s: float
    host: HostRecord
    processes: tuple[ProcessRecord, ...]
    gpus: tuple[GpuRecord, ...] | None = None
    gpus_absent_reason: str | None = None
    sampler: SamplerRecord | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """`meta.json`: what was run, where and how. Rewritten at the end with status and times.

    `status` stays "running" when the process was killed. `config` is the configuration with the
    YAML's own keys. `log` and `checkpoint_dir` are relative to the facts folder. `profiled_steps`
    are the first and last step kept in the trace. `lost_lines` counts lines of rank 0 that the
    system refused to write; other ranks say theirs in an event `lines_lost`. `trainer` is "own" for
    a loop recorded through `vrtspike.profiling.record`, whose `config` is its own and which may
    have been given a `name`.
    """

    run_id: str
    started_at: str
    status: Literal["running", "finished", "interrupted", "failed"]
    ended_at: str | None = None
    host: str | None = None
    pid: int | None = None
    argv: tuple[str, ...] = ()
    log: str | None = None
    checkpoint_dir: str | None = None
    world_size: int = 1
    clock: Clock = "host"
    device: dict[str, str | int | None] = field(default_factory=dict)
    versions: dict[str, str | None] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    phases: tuple[str, ...] = PHASES
    stages: tuple[str, ...] = ()
    resumed_from: str | None = None
    first_step: int = 1
    total_steps: int | None = None
    samples_per_step: int | None = None
    profiled_steps: tuple[int, int] | None = None
    lost_lines: int = 0
    redacted: bool = False
    trainer: Literal["vrtspike", "own"] = "vrtspike"
    name: str | None = None


Record = StepRecord | StagesRecord | SpanRecord | EventRecord | ResourceRecord | MachineEventRecord


def _fields(value: object) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return vars(value)
    raise TypeError(f"a record may not hold a {type(value).__name__}")


_COMPACT = json.JSONEncoder(
    allow_nan=False, separators=(",", ":"), ensure_ascii=False, default=_fields
)
_FAST = msgspec.json.Encoder()
"""Ten times as fast; for what is written in every step."""
# Five samples a second of a hundred processes: keys without a value would be half of the file.
_SPARSE = json.JSONEncoder(
    allow_nan=False,
    separators=(",", ":"),
    ensure_ascii=False,
    default=lambda value: {n: held for n, held in _fields(value).items() if held is not None},
)
_INDENTED = json.JSONEncoder(allow_nan=False, indent=1, ensure_ascii=False, default=_fields)


def to_line(record: Record) -> str:
    """One line of JSON, newline included, for a JSONL file.

    Raises:
        ValueError: the record holds NaN or infinity where JSON allows none.
        TypeError: the record holds something that JSON cannot.
    """
    line = {"schema": SCHEMA_VERSION, "kind": record.kind, **vars(record)}
    if isinstance(record, StepRecord | StagesRecord) and _is_finite(record):
        return _FAST.encode(line).decode() + "\n"
    encoder = _SPARSE if isinstance(record, ResourceRecord) else _COMPACT
    return encoder.encode(line) + "\n"


def _is_finite(record: StepRecord | StagesRecord) -> bool:
    """Whether every number that was measured is one; the fast encoder makes NaN a null."""
    if isinstance(record, StagesRecord):
        return isfinite(sum(record.ms.values()))
    numbers = (record.loss, record.lr, record.grad_norm, record.recorder_ms, record.start_unix_s)
    total = sum(number for number in numbers if number is not None)
    times = (record.host_ms, record.device_ms or {}, record.loss_terms)
    return isfinite(total + sum(sum(each.values()) for each in times))


def to_meta_json(record: RunRecord) -> str:
    """The text of `meta.json`."""
    return _INDENTED.encode({"schema": SCHEMA_VERSION, "kind": "run", **vars(record)}) + "\n"
