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
from diagnostics.parsers.line_scanner import NO_STEP, PART, Columns, LineScanner, Scanned
from diagnostics.parsers.line_shapes import STEP
from diagnostics.parsers.log_formats.registry import FORMATS

MAX_LINE_BYTES = 64 * 1024
ONE_PROCESS_BYTES = 24 << 20
"""Up to here a second process costs more than it saves."""

MAX_PROCESSES = 8
_SEARCHED_BYTES = 1 << 20
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
                "{count} lines of the kind '{kind}' were left out: there are too many of them",
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
        for places, values in zip(columns.places, columns.values, strict=True):
            moved = values
            if key.kind == PART:
                steps = values[:, key.names.index(STEP)]
                is_begun = steps != NO_STEP
                counted = found.num_marks if part.counts_marks else 0
                moved = values.copy()
                moved[:, key.names.index(STEP)] = np.where(
                    is_begun, steps + counted, found.last_mark
                )
            held.add(places + num_lines, moved)
    found.statements += [(place + num_lines, each) for place, each in part.statements]
    found.num_recognised += part.num_recognised
    found.left_out += part.left_out
    for kind, steps_left_out in part.steps_left_out.items():
        found.steps_left_out.setdefault(kind, []).extend(steps_left_out)
    for kind, stride in part.strides.items():
        found.strides[kind] = max(stride, found.strides.get(kind, 1))
    if part.num_marks:
        found.last_mark = part.last_mark + (found.num_marks if part.counts_marks else 0)
        found.num_marks += part.num_marks
        found.counts_marks = part.counts_marks
