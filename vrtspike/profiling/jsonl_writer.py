"""Appends whole lines, so that a killed process leaves no half line before the last one.

Recording must never stop the training: a write that the system refuses (disk full, read-only
folder, file size limit) is reported once and counted.
"""

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

_log = logging.getLogger(__name__)
_ENDS_SO = "the disk is full, or the file as large as it may become (`ulimit -f`)"


class JsonlWriter:
    """Appends whole lines to one file, those of one call in a single write (O_APPEND).

    `lost_lines` counts lines that the system refused. `is_told` keeps it silent, for a file whose
    folder is known, and said, to be missing.
    """

    def __init__(self, path: Path, *, is_told: bool = False) -> None:
        self.path = path
        self.lost_lines = 0
        self._warned = is_told
        self._cut = False
        self._descriptor: int | None = None
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            self._warn(error)

    def write(self, lines: Sequence[str]) -> None:
        """Appends lines, each ending in a newline; never raises for the file's sake."""
        if not lines:
            return
        if self._descriptor is None:
            self.lost_lines += len(lines)
            return
        # After a write that was cut short, a newline first keeps the next line whole.
        before = "\n" if self._cut else ""
        body = (before + "".join(lines)).encode("utf-8")
        try:
            written = os.write(self._descriptor, body)
        except OSError as error:
            self.lost_lines += len(lines)
            self._warn(error)
            return
        self._cut = written < len(body)
        if self._cut:
            self.lost_lines += len(lines) - body[len(before) : written].count(b"\n")
            said = f"only {written} of {len(body)} bytes were written: {_ENDS_SO}"
            self._warn(OSError(said))

    def close(self) -> None:
        """Closes the file; later lines are lost."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("cannot record to %s: %s. Training goes on.", self.path, error)


def replace_file(path: Path, text: str) -> bool:
    """Writes a file whole or not at all.

    Returns:
        Whether it was written; a refusal is reported as a warning and never raised.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        _log.warning("cannot write %s: %s. Training goes on.", path, error)
        discard(temporary)
        return False
    return True


def discard(path: Path) -> None:
    """Deletes a file if it is there and the system lets us."""
    with contextlib.suppress(OSError):
        path.unlink()
