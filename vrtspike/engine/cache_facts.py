"""How well the training set's cache serves, for the facts and for the log."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from vrtspike.data.cache import CacheStats
from vrtspike.profiling.null_recorder import NullRecorder
from vrtspike.profiling.recorder import Recorder


@dataclass(frozen=True)
class CacheFacts:
    """Tells of this rank's cache; `read` gives None where there is none, and nothing is told.

    `trouble` says why it keeps less than its budget allows; empty where nothing hinders it.
    """

    read: Callable[[], CacheStats | None]
    trouble: Callable[[], str]
    owner: str
    recorder: Recorder | NullRecorder
    say: Callable[[str], None]
    _warned: list[str] = field(default_factory=list)

    def review(self) -> None:
        """Warn in the log, once, of a cache that has no room."""
        if self._warned:
            return
        with suppress(OSError):  # `record` tells of a disk that failed
            if trouble := self.trouble():
                self._warned.append(trouble)
                self.say(f"[data] WARNING: {trouble}")

    def record(self) -> CacheStats | None:
        """Write the counts so far as an event; of a cache whose disk failed there are none."""
        try:
            stats = self.read()
        except OSError as error:
            self.say(f"[data] WARNING: the cache tells nothing any more: {error.strerror or error}")
            return None
        if stats is not None:
            self.recorder.event(
                "cache_stats",
                first_rank=stats.first_rank,
                num_items=stats.items,
                used_bytes=stats.memory_bytes,
                limit_bytes=stats.limit_bytes,
                hits=stats.hits,
                misses=stats.misses,
                evicted=stats.evicted,
                refused=stats.refused,
                no_room=stats.no_room,
            )
        return stats

    def conclude(self) -> None:
        """Write the last counts, and the documented block into the log."""
        self.review()
        stats = self.record()
        if stats is not None:
            self.say(stats.text(self.owner))
