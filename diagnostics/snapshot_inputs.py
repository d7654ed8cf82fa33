"""Snapshots of GPU memory among the inputs, or beside the run that they were taken in."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diagnostics.analyses.snapshot_memory import analyse_snapshot, by_device
from diagnostics.analyses.snapshot_outliving import compute_outliving
from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.memory_snapshot import MemorySnapshot
from diagnostics.parsers.detect import detect
from diagnostics.parsers.snapshot_file import read_snapshot
from diagnostics.report.memory_model import SnapshotView
from diagnostics.run import Input, Run

FOLDER = "memory"
MAX_FOLLOWED_BYTES = 64 << 20
"""Of a run's own snapshots the newest is read up to this size; others must be asked for."""
_RANK = re.compile(r"\.rank(\d{1,6})\.pickle(?:\.gz)?$")


@dataclass
class SnapshotInputs:
    """The snapshots that were read, and what became of each path."""

    paths: tuple[Path, ...]
    others: tuple[Path, ...]
    read: list[MemorySnapshot] = field(default_factory=list)
    notes: list[Input] = field(default_factory=list)

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "SnapshotInputs":
        """Tells the snapshots among the paths from the rest, and reads them."""
        own = tuple(path for path in paths if _is_snapshot(path))
        made = cls(paths=own, others=tuple(path for path in paths if path not in own))
        for path in own:
            made.add(path)
        return made

    @property
    def inputs(self) -> tuple[Input, ...]:
        """One for each snapshot."""
        return tuple(self.notes)

    def add(self, path: Path) -> None:
        """Reads one; one that is refused is an input that failed."""
        try:
            snapshot = read_snapshot(path)
        except DiagnosticsError as error:
            self.notes.append(
                Input(path=path, kind="memory snapshot", status="failed", notes=(str(error),))
            )
            return
        self.read.append(snapshot)
        status = "partial" if snapshot.notes else "read"
        self.notes.append(
            Input(path=path, kind="memory snapshot", status=status, notes=snapshot.notes)  # type: ignore[arg-type]
        )

    def follow(self, run: Run) -> None:
        """The newest snapshot of the run itself, where none was given and it is of modest size."""
        if self.paths:
            return
        for each in run.inputs:
            if each.kind != "facts folder":
                continue
            found = sorted((each.path / FOLDER).glob("*.pickle"))
            if found and found[-1].stat().st_size <= MAX_FOLLOWED_BYTES:
                self.add(found[-1])
                found = found[:-1]
            for path in found:
                note = say("snapshots of a run: the newest is read, others when given by name")
                self.notes.append(
                    Input(path=path, kind="memory snapshot", status="not evaluated", notes=(note,))
                )

    def views(self, run: Run | None = None) -> tuple[SnapshotView, ...]:
        """The analyses; the steps of the run tell what outlived one."""
        return tuple(_view(snapshot, run) for snapshot in self.read)


def _is_snapshot(path: Path) -> bool:
    try:
        return detect(path) == "memory snapshot"
    except DiagnosticsError:
        return False


def _view(snapshot: MemorySnapshot, run: Run | None) -> SnapshotView:
    starts = _step_starts(snapshot.path, run)
    parts = by_device(snapshot).items()
    return SnapshotView(
        snapshot=snapshot,
        devices=analyse_snapshot(snapshot),
        outliving=tuple(compute_outliving(part, device, starts) for device, part in parts),
    )


def _step_starts(path: Path, run: Run | None) -> list[float]:
    """Of the rank that the file's name tells, else of the lowest."""
    if run is None or not len(run.tables.steps):
        return []
    steps = run.tables.steps
    named = _RANK.search(path.name)
    rank = int(named[1]) if named else int(steps["rank"].min())
    starts = steps.loc[steps["rank"] == rank, "start_unix_s"].dropna()
    return [float(each) for each in starts]
