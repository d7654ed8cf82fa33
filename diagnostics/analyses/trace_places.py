"""Where in the program some time was spent: by file and line, or by operator, call and range.

A trace recorded with stacks has a frame for every Python function that ran. Each moment is charged
to the innermost frame of the program's own code, since a line of a library says nothing that its
user could change; without such a frame to the innermost one, and without stacks to the innermost
operator, call or range of the thread.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diagnostics.analyses.intervals import Array, Intervals, distinct, union
from diagnostics.analyses.trace_launches import innermost
from diagnostics.analyses.trace_rows import chunks, covered_ns, has_name
from diagnostics.trace import Kind, Trace


@dataclass(frozen=True, kw_only=True)
class Place:
    """Time spent in one place: `file:line function` if it `is_frame`, else the name of an event."""

    where: str
    is_frame: bool
    ns: int


_FRAME = re.compile(r"^(?P<file>[^<>]+\.py)\((?P<line>\d+)\): (?P<function>.+)$")
_INSTALLED = re.compile(r"(^|/)(site-packages|dist-packages|lib/python[\d.]+)/")
_LIBRARIES = frozenset(
    {
        "torch", "torchvision", "torchaudio", "torchmetrics", "torchdata", "triton", "numpy",
        "scipy", "pandas", "PIL", "cv2", "skimage", "einops", "timm", "tqdm", "tensorboard",
        "lightning", "pytorch_lightning", "lightning_fabric", "transformers", "accelerate",
        "diffusers", "datasets", "deepspeed", "apex", "flash_attn", "xformers", "lmdb", "h5py",
        "yaml", "psutil", "msgspec", "rich", "wandb", "mlflow",
    }
)  # fmt: skip
"""The profiler cuts the folder of installed packages off a path: they show by their first part."""

_SAYS_NOTHING = re.compile(r"^ProfilerStep#")
_FRAMES: tuple[Kind, ...] = ("python",)
_SPANS: tuple[Kind, ...] = ("op", "runtime", "span")
MAX_ROWS = 1 << 20
"""Rows looked at for one thread and cause; the longest ones count where there are more."""


class PlaceTimes:
    """Where times were spent, summed up over parts of a trace."""

    def __init__(self, trace: Trace) -> None:
        self._names = trace.names
        self._kinds = _name_kinds(trace)
        self._spent: dict[tuple[int, bool], int] = {}

    def add(self, trace: Trace, times: Mapping[int, Intervals]) -> None:
        """Takes times of each track in account, in which a part of the trace was recorded."""
        names = self._kinds
        for track, own in times.items():
            rest = own
            for kinds, numbers in (
                (_FRAMES, names.own), (_FRAMES, names.frames), (_SPANS, names.events),
            ):  # fmt: skip
                rows = _touching(trace, kinds, track, rest, numbers)
                by_name, rest = _charge(rows, rest)
                for number, ns in by_name.items():
                    key = number, kinds is _FRAMES
                    self._spent[key] = self._spent.get(key, 0) + ns

    def heaviest(self, top: int) -> tuple[Place, ...]:
        """The places with most of the times, heaviest first."""
        spent: dict[tuple[str, bool], int] = {}
        for (number, is_frame), ns in self._spent.items():
            key = _readable(self._names[number]), is_frame
            spent[key] = spent.get(key, 0) + ns
        order = sorted(spent.items(), key=lambda each: (-each[1], each[0]))[:top]
        return tuple(Place(where=where, is_frame=frame, ns=ns) for (where, frame), ns in order)


@dataclass(frozen=True, eq=False)
class _Rows:
    start: Array
    end: Array
    name: Array


@dataclass(frozen=True, eq=False)
class _NameKinds:
    """The names of frames, of those of the program's own code, and of everything else."""

    frames: Array
    own: Array
    events: Array


def _name_kinds(trace: Trace) -> _NameKinds:
    frames = trace.named(_FRAME)
    files = ((number, _FRAME.match(trace.names[number])) for number in frames.tolist())
    own = [number for number, found in files if found and is_own_code(found["file"])]
    silent = np.concatenate([frames, trace.named(_SAYS_NOTHING)])
    events = np.setdiff1d(np.arange(len(trace.names)), silent)
    return _NameKinds(frames, np.array(own, np.int64), events)


def is_own_code(file: str) -> bool:
    """Whether a file is neither of Python nor of an installed package."""
    first = file.split("/", 1)[0].removesuffix(".py")
    is_known = first in _LIBRARIES or first in sys.stdlib_module_names
    return not (_INSTALLED.search(file) or file.startswith("<") or is_known)


def _touching(
    trace: Trace, kinds: Sequence[Kind], track: int, times: Intervals, names: Array
) -> _Rows:
    """The rows of the track and names that have a part in the times; by start, longest first."""
    columns = "start_ns", "end_ns", "name"
    found = [[np.empty(0, np.int64)] for _ in columns]
    for kind in kinds if len(times) and len(names) else ():
        for chunk in chunks(trace.events[kind]):
            own = chunk[chunk["track"] == track]
            own = own[has_name(own, names)]
            own = own[covered_ns(own["start_ns"], own["end_ns"], times) > 0]
            for column, parts in zip(columns, found, strict=True):
                parts.append(own[column])
    start, end, name = map(np.concatenate, found)
    if len(start) > MAX_ROWS:
        longest = np.argpartition(start - end, MAX_ROWS)[:MAX_ROWS]
        start, end, name = start[longest], end[longest], name[longest]
    order = np.lexsort((-end, start))
    return _Rows(start[order], end[order], name[order])


def _charge(rows: _Rows, times: Intervals) -> tuple[dict[int, int], Intervals]:
    """How much of the times the innermost row of each name has, and the times that none has."""
    if not len(rows.start) or not len(times):
        return {}, times
    edges = distinct(np.concatenate([rows.start, rows.end, times.start, times.end]))
    pieces = _cut(edges, times)
    place = innermost(rows.start, rows.end, pieces.start)
    has = place >= 0
    lengths = pieces.end - pieces.start
    spent = np.bincount(rows.name[place[has]], weights=lengths[has])
    found = {int(name): int(spent[name]) for name in np.flatnonzero(spent).tolist()}
    return found, union(pieces.start[~has], pieces.end[~has])


def _cut(edges: Array, times: Intervals) -> Intervals:
    """The times cut at every edge."""
    last = np.searchsorted(times.start, edges[:-1], side="right") - 1
    inside = (last >= 0) & (edges[:-1] < times.end[np.maximum(last, 0)])
    return Intervals(edges[:-1][inside], edges[1:][inside])


def _readable(name: str) -> str:
    found = _FRAME.match(name)
    return f"{found['file']}:{found['line']} {found['function']}" if found else name
