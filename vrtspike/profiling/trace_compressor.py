"""Compresses a trace in a process of its own, of the lowest priority.

    python -m vrtspike.profiling.trace_compressor PLAIN FINAL [--redact-host LABEL]

A thread would hold the interpreter's lock at times, and one of low priority keeps it for as long as
a busy machine has better things to do. Needs no PyTorch. It goes on when the trainer is killed, and
Ctrl-C does not end it.
"""

import argparse
import gzip
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from vrtspike.profiling.jsonl_writer import discard
from vrtspike.profiling.redaction import TraceRewrite, trace_redaction
from vrtspike.profiling.sampler_process import module_environment

_log = logging.getLogger(__name__)
BLOCK_BYTES = 1 << 18
_GZIP_LEVEL = 5
_LOWEST_PRIORITY = 19
_FAILED = 1


class Compression:
    """One trace that is being compressed; the plain file is gone when it is done.

    Args:
        plain: The trace as it was exported.
        final: The name it gets when it is whole.
        redact_host: Takes absolute paths out and puts this in place of the host's name.
    """

    def __init__(self, plain: Path, final: Path, redact_host: str | None) -> None:
        self._plain = plain
        self._problem: str | None = None
        self._process: subprocess.Popen[str] | None = None
        command = [sys.executable, "-m", "vrtspike.profiling.trace_compressor"]
        command += [str(plain.absolute()), str(final.absolute())]
        command += [] if redact_host is None else [f"--redact-host={redact_host}"]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=module_environment(),
            )
        except OSError as error:
            self._problem = f"no trace: it could not be compressed: {error}"
            discard(plain)

    @property
    def running(self) -> bool:
        """Whether it takes time from the machine's processors."""
        return self._process is not None and self._process.poll() is None

    def join(self) -> str | None:
        """Waits for the file; says what went wrong."""
        if self._process is None:
            return self._problem
        said, _ = self._process.communicate()
        if self._process.returncode:
            discard(self._plain)
            reason = said.strip() or f"the compression ended with {self._process.returncode}"
            return f"no trace: {reason}"
        return None


def compress(plain: Path, final: Path, rewrite: TraceRewrite | None) -> None:
    """Compresses a file, then gives it its name.

    Args:
        plain: Deleted in any case.
        final: Appears whole or not at all.
        rewrite: Is handed whole lines and says what is kept of them.

    Raises:
        OSError: the system refuses.
    """
    temporary = final.with_name(f".{final.name}.tmp")
    try:
        with (
            plain.open("rb") as source,
            gzip.open(temporary, "wb", compresslevel=_GZIP_LEVEL) as target,
        ):
            while block := source.read(BLOCK_BYTES) + source.readline():
                target.write(rewrite(block) if rewrite else block)
        temporary.replace(final)
    finally:
        discard(temporary)
        discard(plain)


def main(argv: Sequence[str]) -> int:
    """Runs the compression; what went wrong is said in one line on standard output."""
    parser = argparse.ArgumentParser(prog="vrtspike.profiling.trace_compressor")
    parser.add_argument("plain", type=Path)
    parser.add_argument("final", type=Path)
    parser.add_argument("--redact-host")
    asked = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):  # to the whole group: the trainer waits for us
        signal.signal(number, signal.SIG_IGN)
    _lower_priority()
    rewrite = None if asked.redact_host is None else trace_redaction(asked.redact_host)
    try:
        compress(asked.plain, asked.final, rewrite)
    except OSError as error:
        print(error)
        return _FAILED
    return 0


def _lower_priority() -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_PRIORITY)
    except OSError as error:
        _log.debug("the trace is compressed at normal priority: %s", error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
