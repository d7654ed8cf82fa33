"""One pass over a text log: by several processes at once where it is long."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers.line_reader import LineReader, reader_notes
from diagnostics.parsers.line_scanner import LineScanner
from diagnostics.parsers.line_shapes import STEP, Floats
from diagnostics.parsers.log_formats.registry import FAMILIES, FORMATS
from diagnostics.parsers.scanned import NO_STEP, PART, STEPLESS, Columns, Key, MarkCount, Scanned

MAX_LINE_BYTES = 64 * 1024
ONE_PROCESS_BYTES = 24 << 20
"""Up to here a second process costs more than it saves."""

MAX_PROCESSES = 8
MAX_FILE_BYTES = 64 << 20
"""A file of metrics larger than this is not looked into."""

_SEARCHED_BYTES = 1 << 20
_HEAD_BYTES = 64 * 1024
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")

Part = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class LogScan:
    """What was scanned: how many lines, and what the reader left out, in sentences."""

    found: Scanned
    num_lines: int
    num_too_long: int
    is_last_cut: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        left_out = tuple(
            say(
                "{count} line(s) of the kind '{kind}' (was|were) left out: there are too many of "
                "them",
                count=count,
                kind=kind,
            )
            for kind, count in sorted(self.found.left_out.items())
        )
        thinned = tuple(
            say(
                "more numbers of the kind '{kind}' than are kept: only those of every "
                "{stride}th step",
                kind=kind,
                stride=stride,
            )
            for kind, stride in sorted(self.found.strides.items())
        )
        read = reader_notes(self.num_too_long, MAX_LINE_BYTES, is_last_cut=self.is_last_cut)
        return (*read, *left_out, *thinned)


def without_escapes(text: bytes) -> bytes:
    """The text without the colours and cursor movements of a terminal."""
    return _ANSI.sub(b"", text) if b"\x1b" in text else text


def scan_log(path: Path, num_processes: int | None = None) -> LogScan:
    """Reads a text log.

    Args:
        path: The log.
        num_processes: How many read it; by default as many as its size and the machine suggest.

    Raises:
        DiagnosticsError: the file cannot be read.
    """
    as_file = _read_as_file(path)
    if as_file is not None:
        return as_file
    parts = _parts(path, num_processes)
    size = parts[-1][1]
    if len(parts) == 1:
        return _scan_part(path, parts[0], size)
    try:
        # A fork has numpy loaded already: a fresh process would take as long as it saves.
        with ProcessPoolExecutor(len(parts), mp_context=get_context("fork")) as pool:
            scans = list(pool.map(partial(_scan_part, path, size=size), parts))
    except (OSError, ValueError, BrokenProcessPool):  # no second process to be had
        return _scan_part(path, (0, size), size)
    return _join(scans)


def _read_as_file(path: Path) -> LogScan | None:
    """A file of metrics, which is no text of lines; None if no family knows it."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            first_line = head[: head.find(b"\n")]
            if not head.lstrip().startswith(b"{") and b"," not in first_line:
                return None
            content = head + file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise DiagnosticsError(
            say("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        ) from None
    if len(content) > MAX_FILE_BYTES:
        return None
    for family in FAMILIES:
        found = family.read_file(content) if family.read_file is not None else None
        if found is not None and found.num_recognised:
            lines = content.count(b"\n") + 1
            return LogScan(found=found, num_lines=lines, num_too_long=0, is_last_cut=False)
    return None


def _parts(path: Path, num_processes: int | None) -> list[Part]:
    """Places at which the file can be cut: behind a line's end."""
    try:
        size = path.stat().st_size
        wanted = num_processes or _sensible(size)
        cuts = {0, size}
        with path.open("rb") as file:
            for number in range(1, wanted):
                start = size * number // wanted
                file.seek(start)
                end = file.read(_SEARCHED_BYTES).find(b"\n")
                if end >= 0:
                    cuts.add(start + end + 1)
    except OSError as error:
        raise DiagnosticsError(
            say("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        ) from None
    places = sorted(cuts)
    return list(pairwise(places)) or [(0, size)]


def _sensible(size: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return max(1, min(cores, MAX_PROCESSES, size // ONE_PROCESS_BYTES + 1))


def _scan_part(path: Path, part: Part, size: int) -> LogScan:
    reader = LineReader(path, MAX_LINE_BYTES, part)
    scanner = LineScanner(FORMATS)
    first = 1
    for lines in reader.blocks(without_escapes):
        scanner.add(lines, first)
        if first == 1:
            scanner.expect(size / max(1, sum(map(len, lines)) + len(lines)))
        first = reader.line_number + 1
    return LogScan(
        found=scanner.close(),
        num_lines=reader.line_number,
        num_too_long=reader.num_too_long,
        is_last_cut=reader.is_last_cut,
    )


def _join(scans: Sequence[LogScan]) -> LogScan:
    """The scans of the parts of a file, in their order, as one."""
    found = Scanned()
    num_lines = 0
    for scan in scans:
        _append(found, scan.found, num_lines)
        num_lines += scan.num_lines
    found.thin_alike()
    return LogScan(
        found=found,
        num_lines=num_lines,
        num_too_long=sum(scan.num_too_long for scan in scans),
        is_last_cut=scans[-1].is_last_cut,
    )


def _append(found: Scanned, part: Scanned, num_lines: int) -> None:
    """Lines and counted steps of a part go on where those before it ended."""
    for key, columns in part.columns.items():
        held = found.columns.setdefault(key, Columns())
        ours, theirs = (each.marks.get(key.family, MarkCount()) for each in (found, part))
        for places, values in zip(columns.places, columns.values, strict=True):
            held.add(places + num_lines, _gone_on(key, values, ours, theirs))
    found.statements += [(place + num_lines, each) for place, each in part.statements]
    found.num_recognised += part.num_recognised
    found.left_out += part.left_out
    for kind, steps_left_out in part.steps_left_out.items():
        found.steps_left_out.setdefault(kind, []).extend(steps_left_out)
    for kind, stride in part.strides.items():
        found.strides[kind] = max(stride, found.strides.get(kind, 1))
    for family, theirs in part.marks.items():
        ours = found.marks.get(family, MarkCount())
        last = theirs.last + (ours.count if theirs.is_counted else 0)
        found.marks[family] = MarkCount(ours.count + theirs.count, last, theirs.is_counted)


def _gone_on(key: Key, values: Floats, ours: MarkCount, theirs: MarkCount) -> Floats:
    """The lines of a part that name no step themselves, behind those of the parts before it."""
    if key.kind not in STEPLESS or key.names[0] != STEP:
        return values
    steps = values[:, 0]
    counted = ours.count if theirs.is_counted and key.kind == PART else 0
    moved = np.where(steps == NO_STEP, ours.last, steps + counted)
    return np.column_stack([moved, values[:, 1:]])
