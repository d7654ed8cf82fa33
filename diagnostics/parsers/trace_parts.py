"""Where whole events of a plain file lie, so that each process reads its own part of it.

To hand the text itself from process to process would cost more than to decode it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diagnostics.parsers.trace_blocks import BETWEEN, TraceText, last_cut
from diagnostics.parsers.trace_bytes import TraceBytes

PART_BYTES = 4 << 20
"""Large enough that the work per part vanishes, small beside any memory bound."""

_WINDOWS_BYTES = (64 << 10, 1 << 20)
"""So much of the end of a part is searched for the beginning of an event."""


@dataclass(frozen=True)
class FilePart:
    """Whole events with commas between them: the bytes [start, stop) of a file."""

    path: Path
    start: int
    stop: int

    def listed(self) -> memoryview:
        """The events as a JSON list, until the next part is read: one buffer serves them all.

        Raises:
            OSError: the file can no longer be read.
        """
        length = self.stop - self.start + 2
        if len(_Buffer.held) < length:
            _Buffer.held = bytearray(length)
        text = memoryview(_Buffer.held)[:length]
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            end = 1 + (file.readinto(text[1:-1]) or 0)
        while end > 1 and text[end - 1] in BETWEEN:
            end -= 1
        text[0], text[end] = ord("["), ord("]")
        return text[: end + 1]


class _Buffer:
    """Memory of one's own for each part would cost a tenth of the time."""

    held = bytearray()


Body = bytes | FilePart
"""A piece of a trace: whole events with commas between them, as text or where they lie."""


def listed(body: Body) -> bytes | memoryview:
    """The events of a piece as a JSON list."""
    if isinstance(body, FilePart):
        return body.listed()
    first, end = 0, len(body)
    while first < end and body[first] in BETWEEN:
        first += 1
    while end > first and body[end - 1] in BETWEEN:
        end -= 1
    return b"".join((b"[", memoryview(body)[first:end], b"]"))


def bodies_of(text: TraceText, source: TraceBytes, path: Path) -> Iterator[Body]:
    """The pieces of a trace in order: parts of a plain file as long as their ends look certain.

    Raises:
        NotATraceError: there is no array of events, or one event has no end.
    """
    blocks = source.blocks()
    first = text.skip_head(blocks)
    if source.is_packed:
        yield from text.bodies_after_head(first, blocks)
        return
    at = source.position - len(first)
    while cut := _cut_after(source, at):
        yield FilePart(path, at, cut)
        at = cut
    yield from text.bodies_after_head(b"", source.blocks_from(at))


def _cut_after(source: TraceBytes, at: int) -> int:
    """Where the last event of the next part ends; 0 if the file ends first, or none looks it."""
    end = at + PART_BYTES
    if source.size - end < PART_BYTES:
        return 0
    for window in _WINDOWS_BYTES:
        cut = last_cut(source.peek(end - window, window))
        if cut:
            return end - window + cut
    return 0
