"""The stage lines of a text log, by the million: read as whole lines, stored as columns.

Lines of one run name the same phases and stages in the same order. So a line is kept as its step
and its numbers, and the names once for all of them.
"""

import re
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.parsers.log_windows import last_of, sorted_by_step
from diagnostics.parsers.row_buffer import MAX_ROWS, RowBuffer
from diagnostics.run import Clock

_HEAD = re.compile(
    r"(?<![\w.])stages(?:\.(backward|recompute))? (\d{1,15})(?:/\d{1,15})? \|"
    r" clock=(device|host) \| (.*)"
)
_TIME = re.compile(r"(?<!\S)([^\s=]{1,200}+)=(\d{1,12}(?:\.\d{1,9})?)ms(?!\S)")
_PART_LINES = 10_000
_MAX_LAYOUTS = 16

Times = list[tuple[str, str]]
Steps = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass
class _Layout:
    """Lines that name the same phases and stages, in one direction, by the same clock."""

    phases: list[str]
    stages: list[str]
    clock: Clock
    direction: str
    steps: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def take(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows of the phases and those of the stages; the layout is empty again."""
        steps = np.array(self.steps, dtype="int64")
        num_phases, num_stages = len(self.phases), len(self.stages)
        ms = np.fromiter(map(float, self.texts), "float64", len(self.texts))
        by_line = ms.reshape(len(steps), num_phases + num_stages)
        self.steps, self.texts = [], []
        phases = self._columns(steps, self.phases, by_line[:, :num_phases])
        stages = self._columns(steps, self.stages, by_line[:, num_phases:])
        direction = pd.Categorical([self.direction]).repeat(by_line.shape[0] * num_stages)
        return (
            declared.PHASES.from_columns(**phases),
            declared.STAGES.from_columns(**stages, phase=direction),
        )

    def _columns(self, steps: Steps, names: list[str], ms: Floats) -> dict[str, Any]:
        codes = np.tile(np.arange(len(names)), len(steps))
        return {
            "rank": np.zeros(ms.size, dtype="int64"),
            "step": np.repeat(steps, len(names)),
            "name": pd.Categorical.from_codes(codes, categories=pd.Index(names)),
            "clock": pd.Categorical([self.clock]).repeat(ms.size),
            "ms": ms.ravel(),
            "num_steps": np.ones(ms.size, dtype="int64"),
            "is_tagged": np.zeros(ms.size, dtype=bool),
        }


class StageLines:
    """Collects stage lines. `ends` holds the step of every line, also of those thinned out."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self.clock: Clock | None = None
        self._phases = RowBuffer(declared.PHASES, max_rows)
        self._stages = RowBuffer(declared.STAGES, max_rows)
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._ends: dict[str, array[int]] = {}
        self._has_irregular = False

    @property
    def ends(self) -> Steps:
        """The steps of the lines of every direction."""
        parts = [np.frombuffer(ends, dtype="int64") for ends in self._ends.values()]
        return np.concatenate(parts) if parts else np.array([], dtype="int64")

    def add(self, text: str) -> bool:
        """Adds the line; False if it is none."""
        head = _HEAD.search(text)
        if head is None:
            return False
        direction, step = head[1] or "forward", int(head[2])
        clock: Clock = "device" if head[3] == "device" else "host"
        phases_text, _, stages_text = head[4].partition(" | ")
        if direction != "forward":
            phases_text, stages_text = "", head[4]
        if step % min(self._phases.stride, self._stages.stride) == 0:
            phases, stages = _TIME.findall(phases_text), _TIME.findall(stages_text)
            if not phases and direction == "forward":
                return False
            self._add_times(step, clock, direction, phases, stages)
        self.clock = clock
        self._ends.setdefault(direction, array("q")).append(step)
        return True

    def _add_times(
        self, step: int, clock: Clock, direction: str, phases: Times, stages: Times
    ) -> None:
        phase_names, stage_names = [name for name, _ in phases], [name for name, _ in stages]
        key = (clock, direction, *phase_names, "|", *stage_names)
        layout = self._layouts.get(key)
        if layout is None:
            has_twice = len(set(phase_names)) < len(phases) or len(set(stage_names)) < len(stages)
            if has_twice or len(self._layouts) == _MAX_LAYOUTS:
                self._add_rows(step, clock, direction, phases, stages)
                return
            layout = self._layouts[key] = _Layout(phase_names, stage_names, clock, direction)
        layout.steps.append(step)
        layout.texts += [ms for _, ms in phases]
        layout.texts += [ms for _, ms in stages]
        if len(layout.steps) >= _PART_LINES:
            self._close(layout)

    def _add_rows(
        self, step: int, clock: Clock, direction: str, phases: Times, stages: Times
    ) -> None:
        """The slow way, for damaged lines: each names something else, or a name twice."""
        self._has_irregular = True
        for name, ms in phases:
            self._phases.add((0, step, name, clock, float(ms), 1, False))
        for name, ms in stages:
            self._stages.add((0, step, name, direction, clock, float(ms), None, 1, False, None))

    def _close(self, layout: _Layout) -> None:
        if layout.steps:
            phases, stages = layout.take()
            self._phases.add_frame(phases)
            self._stages.add_frame(stages)

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The tables `phases` and `stages` by step; where lines repeat a step, of its last line."""
        for layout in self._layouts.values():
            self._close(layout)
        phases, stages = self._phases.frame(), self._stages.frame()
        repeats = any(len(np.unique(ends)) < len(ends) for ends in self._ends.values())
        if not repeats and not self._has_irregular:
            return sorted_by_step(phases), sorted_by_step(stages)
        return (
            last_of(phases, ["step", "name", "clock"]),
            last_of(stages, ["step", "name", "phase", "clock"]),
        )

    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        return (*self._phases.notes(), *self._stages.notes())
