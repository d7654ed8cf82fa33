"""The lines that begin a step, for the lines that name none themselves."""

import numpy as np

from diagnostics.parsers.line_shapes import Floats
from diagnostics.parsers.scanned import NO_STEP, Integers, MarkCount


class Marks:
    """The lines that begin a step: by place, in their order."""

    def __init__(self) -> None:
        self._places: list[Integers] = []
        self._steps: list[Floats] = []
        self.count = 0
        self.last = NO_STEP
        self.is_counted = False

    def add(self, places: Integers, values: Floats) -> None:
        """Adds marks with their step, or without one: then it is their number, from 1."""
        numbered = np.arange(self.count + 1, self.count + 1 + len(places), dtype="float64")
        steps = values[:, 0] if values.shape[1] else numbered
        self.is_counted = not values.shape[1]
        self.count += len(places)
        self.last = int(np.nan_to_num(steps[np.argmax(places)], nan=NO_STEP))
        self._places.append(places)
        self._steps.append(steps)

    @property
    def summary(self) -> MarkCount:
        """What the next part of the file has to go on from."""
        return MarkCount(self.count, self.last, self.is_counted)

    def steps_at(self, places: Integers) -> Floats:
        """The step begun last at or before each place."""
        if not self._places:
            return np.full(len(places), float(NO_STEP))
        marks, steps = np.concatenate(self._places), np.concatenate(self._steps)
        order = np.argsort(marks, kind="stable")
        self._places, self._steps = [marks[order]], [steps[order]]
        found = np.searchsorted(marks[order], places, side="right") - 1
        return np.where(found >= 0, steps[order][np.maximum(found, 0)], NO_STEP)
