"""A snapshot of PyTorch's allocator, as `torch.cuda.memory._dump_snapshot` writes it, to tables.

The keys are those of PyTorch 1.13 to 2.13; what a version lacks is missing, what it has besides is
left alone. A file may hold one list a million times: each list and dict is visited once.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.memory_snapshot import BLOCKS, HISTORY, SEGMENTS, Frame, MemorySnapshot
from diagnostics.parsers.safe_pickle import read_plain_pickle

MAX_ROWS = 2_000_000
"""Of segments, blocks and history together; beyond it the older history is left out."""
MAX_DEVICES = 256
"""More than PyTorch itself can hold (it keeps a device's number in a signed byte)."""
MAX_STACKS = 100_000
MAX_FRAMES = 64
MAX_TEXT = 300
MAX_LABELS = 4096
_MAX_BYTES = 1 << 41
"""No block is larger; so many of them as are read still sum to a whole number of 64 bits."""
_STATES = ("active_allocated", "active_awaiting_free", "active_pending_free", "inactive")
_ACTIONS = (
    "alloc",
    "free_requested",
    "free_completed",
    "segment_alloc",
    "segment_free",
    "segment_map",
    "segment_unmap",
    "oom",
    "snapshot",
)
"""A tuple, since what a file says in their place may be nothing that a set can look up."""
OTHER = "other"


def read_snapshot(path: Path) -> MemorySnapshot:
    """Reads a snapshot.

    Raises:
        DiagnosticsError: it is no pickle of plain data, or no snapshot; one line.
    """
    content = read_plain_pickle(path)
    if isinstance(content, list):  # before 2.0 a snapshot was the list of its segments
        content = {"segments": content}
    if not isinstance(content, dict) or not isinstance(content.get("segments"), list):
        raise DiagnosticsError(
            say(
                "{path} is a pickle, but no memory snapshot: it holds no list of segments "
                "(torch.cuda.memory._dump_snapshot writes one)",
                path=path,
            )
        )
    return _Snapshot(path, content).read()


class _Snapshot:
    """The state of reading one snapshot."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self.path = path
        self.content = content
        self.left = MAX_ROWS
        self.stacks: list[tuple[Frame, ...]] = []
        self.by_identity: dict[int, int] = {}
        self.by_frames: dict[tuple[Frame, ...], int] = {}
        self.frames: dict[int, Frame | None] = {}
        self.labels: set[str] = set()
        self.notes: list[str] = []
        self.visited: set[int] = set()
        self.odd = 0
        self.again = 0

    def read(self) -> MemorySnapshot:
        """The tables."""
        segments: list[tuple[Any, ...]] = []
        blocks: list[tuple[Any, ...]] = []
        for segment in self._dicts(self.content["segments"], "blocks"):
            own = self._blocks(segment, len(segments))
            segments.append(_segment(segment, own))
            blocks += own
        self._check_devices(len({device for device, *_ in segments}))
        history = list(self._history())
        self._say_what_was_left_out(is_all=not segments and not history)
        return MemorySnapshot(
            path=self.path,
            segments=SEGMENTS.from_rows(segments),
            blocks=BLOCKS.from_rows(blocks),
            history=HISTORY.from_rows(history),
            stacks=tuple(self.stacks),
            settings=_settings(self.content.get("allocator_settings")),
            notes=tuple(self.notes),
        )

    def _say_what_was_left_out(self, *, is_all: bool) -> None:
        if is_all and self.odd:
            raise DiagnosticsError(
                say(
                    "{path} is a pickle, but no memory snapshot: nothing in it looks like "
                    "PyTorch's (torch.cuda.memory._dump_snapshot writes one)",
                    path=self.path,
                )
            )
        if self.odd:
            self.notes.append(
                say("{odd} entries do not look like PyTorch's and were left out", odd=self.odd)
            )
        if self.again:
            self.notes.append(
                say(
                    "{count} references to what it already holds elsewhere were left out, which "
                    "PyTorch writes none of",
                    count=self.again,
                )
            )

    def _check_devices(self, count: int) -> None:
        if count > MAX_DEVICES:
            raise DiagnosticsError(
                say(
                    "{path} is refused: it names {count} devices, more than any machine has",
                    path=self.path,
                    count=count,
                )
            )

    def _is_new(self, value: list[Any] | dict[str, Any]) -> bool:
        """Whether it is met for the first time; an empty list costs nothing."""
        if id(value) in self.visited and value:
            self.again += 1
            return False
        self.visited.add(id(value))
        return True

    def _dicts(self, items: object, needed: str, start: int = 0) -> Iterator[dict[str, Any]]:
        """The dicts of a list that have a key which all of PyTorch's have, each a visit."""
        if not isinstance(items, list) or not self._is_new(items):
            return
        for item in islice(items, start, None):
            self.left -= 1
            if self.left < 0:
                raise DiagnosticsError(
                    say(
                        "{path} is refused: more than {limit} segments, blocks and entries; "
                        "record fewer entries (max_entries)",
                        path=self.path,
                        limit=MAX_ROWS,
                    )
                )
            if not isinstance(item, dict) or needed not in item:
                self.odd += 1
            elif self._is_new(item):
                yield item

    def _blocks(self, segment: dict[str, Any], number: int) -> list[tuple[Any, ...]]:
        device = _whole(segment.get("device")) or 0
        address = _whole(segment.get("address"))
        rows = []
        for block in self._dicts(segment.get("blocks"), "size"):
            size, state = _size(block.get("size")), block.get("state")
            asked, frames = _asked_and_frames(block, size)
            rows.append(
                (
                    device,
                    number,
                    _number(block.get("address", address)),
                    size,
                    asked,
                    state if state in _STATES else OTHER,
                    self._stack(frames),
                )
            )
            address = None if address is None else address + size
        return rows

    def _history(self) -> Iterator[tuple[Any, ...]]:
        traces = self.content.get("device_traces")
        self._check_devices(len(traces) if isinstance(traces, list) else 0)
        for device, trace in enumerate(traces if isinstance(traces, list) else ()):
            if not isinstance(trace, list):
                self.odd += 1
                continue
            older = max(0, len(trace) - self.left)
            if older:
                self.notes.append(
                    say(
                        "device {device}: the older {count} entries of its history were left out",
                        device=device,
                        count=older,
                    )
                )
            for entry in self._dicts(trace, "action", older):
                yield self._entry(device, entry)

    def _entry(self, device: int, entry: dict[str, Any]) -> tuple[Any, ...]:
        action, at_us = entry.get("action"), _number(entry.get("time_us"))
        return (
            device,
            action if action in _ACTIONS else OTHER,
            _number(entry.get("addr")),
            _size(entry.get("size")),
            _number(entry.get("device_free")),
            None if at_us is None else at_us / 1e6,
            self._stack(entry.get("frames")),
            self._label(entry.get("user_metadata")),
        )

    def _label(self, label: object) -> str:
        if not isinstance(label, str) or not label:
            return ""
        text = label[:MAX_TEXT]
        if text not in self.labels and len(self.labels) >= MAX_LABELS:
            return OTHER
        self.labels.add(text)
        return text

    def _stack(self, frames: object) -> int:
        """The number of a stack; -1 for none. The same list is looked at once."""
        if not isinstance(frames, list) or not frames:
            return -1
        known = self.by_identity.get(id(frames))
        if known is None:
            found = tuple(
                frame for each in frames[:MAX_FRAMES] if (frame := self._frame(each)) is not None
            )
            known = self._number_of(found)
            self.by_identity[id(frames)] = known
        return known

    def _number_of(self, found: tuple[Frame, ...]) -> int:
        if not found:
            return -1
        if found not in self.by_frames:
            if len(self.stacks) >= MAX_STACKS:
                return -1
            self.by_frames[found] = len(self.stacks)
            self.stacks.append(found)
        return self.by_frames[found]

    def _frame(self, frame: object) -> Frame | None:
        if not isinstance(frame, dict):
            return None
        if id(frame) not in self.frames:
            file, name = frame.get("filename"), frame.get("name")
            found = None
            if isinstance(file, str) and isinstance(name, str):
                line = _whole(frame.get("line")) or 0
                found = Frame(file=file[:MAX_TEXT], line=line, function=name[:MAX_TEXT])
            self.frames[id(frame)] = found
        return self.frames[id(frame)]


def _segment(segment: dict[str, Any], blocks: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    kind = segment.get("segment_type")
    return (
        _whole(segment.get("device")) or 0,
        _number(segment.get("address")),
        _size(segment.get("total_size")),
        sum(size for _, _, _, size, _, state, _ in blocks if state != "inactive"),
        _number(segment.get("stream")),
        kind if kind in ("small", "large") else OTHER,
        segment.get("is_expandable") is True,
    )


def _asked_and_frames(block: dict[str, Any], size: int) -> tuple[int, object]:
    """Before 2.1 both stood in the first entry of the block's own history."""
    asked = block.get("requested_size")
    if asked is not None or "frames" in block:
        return min(size, _size(asked) if asked is not None else size), block.get("frames")
    past = block.get("history")
    entry: object = past[0] if isinstance(past, list) and past else None
    first: dict[str, Any] = entry if isinstance(entry, dict) else {}
    real = first.get("real_size")
    return min(size, size if real is None else _size(real)), first.get("frames")


def _settings(settings: object) -> dict[str, str | int | float | bool | None]:
    if not isinstance(settings, dict):
        return {}
    return {
        str(name)[:MAX_TEXT]: value[:MAX_TEXT] if isinstance(value, str) else value
        for name, value in list(settings.items())[:100]
        if value is None or isinstance(value, str | int | float)
    }


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 1 << 62 else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e18 * 20 else None


def _size(value: object) -> int:
    found = _whole(value)
    return found if found is not None and 0 <= found <= _MAX_BYTES else 0
