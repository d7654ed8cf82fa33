"""A run as the tools see it: what was read, what is known about it, and its tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from diagnostics import loading_tables, memory_tables
from diagnostics import tables as declared
from diagnostics.aftermath import Aftermath
from diagnostics.language import say
from diagnostics.log_recognition import LogRecognition
from diagnostics.trace import Trace

InputKind = Literal[
    "text log",
    "facts folder",
    "folder of runs",
    "trace",
    "folder of traces",
    "memory snapshot",
    "unknown",
]
InputStatus = Literal["read", "partial", "not evaluated", "failed"]
Evidence = Literal["facts", "text log only", "trace only"]
RunStatus = Literal["running", "finished", "interrupted", "failed"]
Clock = Literal["device", "host"]

FACTS: Evidence = "facts"
TEXT_LOG_ONLY: Evidence = "text log only"
TRACE_ONLY: Evidence = "trace only"
OUR_LOGS = ("vrt-spike", "original trainer")
"""Families of logs whose trainer has our configuration."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One file or folder that was asked for or found beside it.

    `read`: all of it; `partial`: some lines were left out, the notes say which and how many;
    `not evaluated`: recognised, but this version draws nothing from it; `failed`: the notes hold
    the one clear line why.
    """

    path: Path
    kind: InputKind
    status: InputStatus
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What is known about the run as a whole; None is unknown.

    `config` has the YAML's own keys and is empty when unknown. `status` "running" with an old
    `started_at` means that the process was killed or still runs. `trainer` "own" is a training
    loop recorded through `vrtspike.profiling`, which may have a `name`. `argv` is the command line
    of its first rank, empty where it is unknown or redacted. `log_family` is None when
    no text log was read. `lost_lines` counts lines of facts that the system refused to write;
    `facts_bytes` is the size of what all ranks wrote about steps, spans and events.
    `traces` are the profiler's files. Of a text log: `is_unsynchronised` says that its stage times
    are known to be differences of the host's clock around work that a GPU does later,
    `leaves_fetch_out` that its data_time is known to begin after the batch was fetched.
    """

    run_id: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    status: RunStatus | None = None
    clock: Clock | None = None
    host: str | None = None
    pid: int | None = None
    argv: tuple[str, ...] = ()
    device: Mapping[str, str | int | None] = field(default_factory=dict)
    versions: Mapping[str, str | None] = field(default_factory=dict)
    world_size: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    phases: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    first_step: int | None = None
    total_steps: int | None = None
    samples_per_step: int | None = None
    resumed_from: str | None = None
    profiled_steps: tuple[int, int] | None = None
    redacted: bool | None = None
    trainer: Literal["vrtspike", "own"] | None = None
    name: str | None = None
    lost_lines: int | None = None
    facts_bytes: int | None = None
    traces: tuple[Path, ...] = ()
    log_family: str | None = None
    is_unsynchronised: bool = False
    leaves_fetch_out: bool = False
    gpus_absent_reason: str | None = None
    recognition: LogRecognition | None = None
    """Of a text log that does not say of itself who wrote it; None where there are facts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunTables:
    """The declared tables of `diagnostics.tables`; one without rows was not recorded."""

    phases: pd.DataFrame = field(default_factory=declared.PHASES.empty)
    stages: pd.DataFrame = field(default_factory=declared.STAGES.empty)
    steps: pd.DataFrame = field(default_factory=declared.STEPS.empty)
    spans: pd.DataFrame = field(default_factory=declared.SPANS.empty)
    events: pd.DataFrame = field(default_factory=declared.EVENTS.empty)
    host: pd.DataFrame = field(default_factory=declared.HOST.empty)
    processes: pd.DataFrame = field(default_factory=declared.PROCESSES.empty)
    gpus: pd.DataFrame = field(default_factory=declared.GPUS.empty)
    cores: pd.DataFrame = field(default_factory=declared.CORES.empty)
    sampler: pd.DataFrame = field(default_factory=declared.SAMPLER.empty)
    log_steps: pd.DataFrame = field(default_factory=declared.LOG_STEPS.empty)
    progress: pd.DataFrame = field(default_factory=declared.PROGRESS.empty)
    memory_lines: pd.DataFrame = field(default_factory=declared.MEMORY_LINES.empty)
    validations: pd.DataFrame = field(default_factory=declared.VALIDATIONS.empty)
    cache_stats: pd.DataFrame = field(default_factory=declared.CACHE_STATS.empty)
    fetches: pd.DataFrame = field(default_factory=loading_tables.FETCHES.empty)
    loading: pd.DataFrame = field(default_factory=loading_tables.LOADING.empty)
    copies: pd.DataFrame = field(default_factory=loading_tables.COPIES.empty)
    data_sets: pd.DataFrame = field(default_factory=loading_tables.DATA_SETS.empty)
    worker_plans: pd.DataFrame = field(default_factory=loading_tables.WORKER_PLANS.empty)
    communication: pd.DataFrame = field(default_factory=declared.COMMUNICATION.empty)
    rank_places: pd.DataFrame = field(default_factory=declared.RANK_PLACES.empty)
    rank_clocks: pd.DataFrame = field(default_factory=declared.RANK_CLOCKS.empty)
    allocation_failures: pd.DataFrame = field(
        default_factory=memory_tables.ALLOCATION_FAILURES.empty
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """One training run, read. `evidence` says what stands behind its steps.

    `aftermath` is what its machine still tells of it; None where nobody has looked.
    """

    inputs: tuple[Input, ...]
    info: RunInfo
    evidence: Evidence
    tables: RunTables
    traces: tuple[Trace, ...] = ()
    aftermath: Aftermath | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Every note of every input, each with the name of its file."""
        return tuple(
            say("{file}: {note}", file=each.path.name, note=note)
            for each in self.inputs
            for note in each.notes
        )


def is_of_unknown_program(run: Run) -> bool:
    """Whether a log is all there is, and nothing says which program wrote it."""
    known = run.info.recognition
    return run.evidence == TEXT_LOG_ONLY and known is not None and known.tells_too_little
