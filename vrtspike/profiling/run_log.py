"""The text log of rank 0: a file, and its lines for people on the terminal.

A terminal also gets a progress bar in its last line; a file or a pipe gets `[progress]` lines
instead. A file or stream that can no longer be written to is left alone; the training goes on.
"""

import logging
from pathlib import Path
from typing import TextIO

from vrtspike.profiling.log_lines import run_line
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.run_folder import relative_text

_log = logging.getLogger(__name__)
_CLEAR_LINE = "\r\x1b[K"


class RunLog:
    """Writes whole lines to a file (UTF-8, line-buffered) and to a stream.

    Args:
        path: The log file; its folder is made. None writes to the stream alone.
        stream: The terminal or pipe, usually standard output; None for the file alone.
        bar: Whether to show a progress bar; by default on a terminal only.
    """

    def __init__(
        self, path: Path | None, stream: TextIO | None, *, bar: bool | None = None
    ) -> None:
        self.path = path
        self._stream = stream
        self._file = _open(path)
        self._shows_bar = (stream is not None and stream.isatty()) if bar is None else bar
        self._bar = ""

    def begin(self, run: RunRecord, facts_dir: Path) -> None:
        """Writes the first line, by which the tools find the run's facts."""
        start = self.path.parent if self.path else Path()
        facts = relative_text(facts_dir, start)
        self.line(run_line(run.run_id, facts, run.clock, own_loop=run.trainer == "own"))

    def line(self, text: str) -> None:
        """Writes one line, or several joined by newlines."""
        self._to_file(text)
        if self._bar:
            self._to_stream(f"{_CLEAR_LINE}{text}\n{self._bar}")
        else:
            self._to_stream(f"{text}\n")

    def detail(self, text: str) -> None:
        """Writes a line for the tools, too long and too frequent for the terminal."""
        self._to_file(text)

    def progress(self, text: str) -> None:
        """Writes a progress line; a terminal with a bar does not get it twice."""
        if self._shows_bar:
            self._to_file(text)
            self.bar(text)
        else:
            self.line(text)

    def bar(self, text: str) -> None:
        """Redraws the progress bar; does nothing without a terminal."""
        if self._shows_bar:
            self._bar = text
            self._to_stream(f"{_CLEAR_LINE}{text}")

    def close(self) -> None:
        """Leaves the bar behind as a line and closes the file; the stream stays open."""
        if self._bar:
            self._bar = ""
            self._to_stream("\n")
        if self._file is not None:
            self._file.close()
            self._file = None

    def _to_file(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(f"{text}\n")
        except OSError as error:
            _log.warning("cannot write %s any more: %s. Training goes on.", self.path, error)
            _abandon(self._file)
            self._file = None

    def _to_stream(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(_encodable(text, self._stream))
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe or a closed stream: nobody listens
            self._stream = None


def _open(path: Path | None) -> TextIO | None:
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        _log.warning("no log is written to %s: %s", path, error)
        return None


def _abandon(file: TextIO) -> None:
    try:
        file.close()
    except OSError:
        _log.debug("the log's last line is lost")


def _encodable(text: str, stream: TextIO) -> str:
    """The text as the stream's encoding can say it; the warning sign is not ASCII."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)
