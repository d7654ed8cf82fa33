"""Everything a renderer may show about memory. Renderers format it and compute nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diagnostics.analyses.machine_capacity import Capacity
from diagnostics.analyses.machine_jobs import Job
from diagnostics.analyses.memory_checks import Bounds, Check
from diagnostics.analyses.memory_demand import SettingChange
from diagnostics.analyses.memory_forecast import Forecast
from diagnostics.analyses.snapshot_memory import DeviceSnapshot
from diagnostics.analyses.snapshot_outliving import Outliving
from diagnostics.analyses.watch_course import WatchView
from diagnostics.machine import GpuStates, HostState
from diagnostics.memory_snapshot import MemorySnapshot
from diagnostics.report.model import Report
from diagnostics.rules.finding import Finding, SettingValue
from diagnostics.run import Input


@dataclass(frozen=True, kw_only=True)
class MachineView:
    """This machine as it is now: its state, what of it may be used, and the training on it."""

    host: HostState
    capacity: Capacity
    gpus: GpuStates
    jobs: tuple[Job, ...]

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where a run would compute."""
        return "cuda" if self.gpus.gpus else "cpu"


@dataclass(frozen=True, kw_only=True)
class SnapshotView:
    """A snapshot of the allocator, by device, with what outlived its step on each."""

    snapshot: MemorySnapshot
    devices: tuple[DeviceSnapshot, ...]
    outliving: tuple[Outliving, ...]


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run's report, or why there is none, and snapshots of its GPUs' memory.

    Inputs that failed are among `inputs`.
    """

    report: Report | None
    absent_reason: str | None
    inputs: tuple[Input, ...]
    snapshots: tuple[SnapshotView, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ForecastView:
    """A forecast and the guide's rules held against the same configuration."""

    forecast: Forecast
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A change that a finding proposes and a new configuration does not make, and why."""

    rule: str
    key: str
    current: SettingValue
    proposed: SettingValue
    reason: str


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """A configuration with all changes that make it fit; `verdict` is the forecast of it.

    `left_out` is what the findings of that forecast still propose.
    """

    path: Path
    verdict: str
    changes: tuple[SettingChange, ...]
    is_written: bool
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MemoryReport:
    """The machine, the newest run if there is one, the forecast and what was watched if asked for.

    `bounds` are the guide's rules for this machine. `findings` are in the order in which to act.
    """

    machine: MachineView
    run: RunView
    forecast: ForecastView | None
    bounds: tuple[Bounds, ...]
    findings: tuple[Finding, ...]
    verdict: str
    notes: tuple[str, ...] = ()
    watched: WatchView | None = None
    rewrite: Rewrite | None = None
