"""What a command prints: a reader that has gone ends it quietly, a full disk in one line."""

import contextlib
import os
import sys
from typing import TextIO

from vrtspike.errors import VRTSpikeError, printable

READER_GONE = 141
"""What a shell reports for SIGPIPE."""


class OutputError(VRTSpikeError):
    """Standard output takes no more; the message says why."""


def print_line(line: str) -> None:
    """Print a line at once, whatever names it holds; nothing where standard output is closed.

    Raises:
        SystemExit: the program at the other end of the pipe closed it.
        OutputError: the line cannot be written.
    """
    try:
        print(printable(line), flush=True)
    except BrokenPipeError:
        _discard(sys.stdout)
        raise SystemExit(READER_GONE) from None
    except OSError as error:
        _discard(sys.stdout)
        raise OutputError(f"standard output cannot be written: {error.strerror}") from None


def print_error(line: str) -> None:
    """A line on standard error, which may lie on the full disk, too."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """The interpreter writes what is left once more on its way out; it needs somewhere to go.

    Else the exit code would be 120, whatever the program said.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):  # no stream with a descriptor
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
