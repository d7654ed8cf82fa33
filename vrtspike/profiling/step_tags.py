"""The marks of steps that statistics leave out."""

import gc
from collections.abc import Mapping
from typing import Any

from vrtspike.profiling.records import STEP_TAGS

_FULL_COLLECTION = 2


class StepTags:
    """Collects the tags of the running step, or of the next one between steps.

    Watches the garbage collector from `watch_gc` until `close`: a full collection stops the
    interpreter for a time that no phase explains.
    """

    def __init__(self) -> None:
        self._tags: set[str] = set()

    def add(self, tag: str) -> None:
        """Tags the step.

        Raises:
            ValueError: the tag is none of `STEP_TAGS`.
        """
        if tag not in STEP_TAGS:
            raise ValueError(f"unknown step tag {tag!r}; known: {', '.join(STEP_TAGS)}")
        self._tags.add(tag)

    def take(self) -> tuple[str, ...]:
        """The tags so far, in the order of `STEP_TAGS`; the next step starts without."""
        if not self._tags:
            return ()
        tags, self._tags = self._tags, set()
        return tuple(tag for tag in STEP_TAGS if tag in tags)

    def watch_gc(self) -> None:
        """Starts to tag steps in which a full collection ran."""
        gc.callbacks.append(self._on_gc)

    def close(self) -> None:
        """Stops to watch the garbage collector."""
        if self._on_gc in gc.callbacks:
            gc.callbacks.remove(self._on_gc)

    def _on_gc(self, phase: str, info: Mapping[str, Any]) -> None:
        if phase == "stop" and info.get("generation") == _FULL_COLLECTION:
            self._tags.add("gc")
