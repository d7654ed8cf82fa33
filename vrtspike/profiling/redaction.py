"""Takes the host's name and absolute paths out of what a run leaves behind (`LOG.REDACT`).

Relative paths stay, since the tools follow them.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from vrtspike.profiling.records import RunRecord

REDACTED_PATH = "<path>"
TraceRewrite = Callable[[bytes], bytes]
"""Rewrites whole lines of a trace; what it returns is kept instead."""

# A slash that begins a path: not that of a URL, of `a/b` or of `./a`. The path ends at the first
# space, quote or bracket, and never inside an escape of JSON. The slash comes first in the pattern
# because the search for one character is fast.
_INSIDE = re.compile(
    r"""/(?:(?<![\w./\\<>-]/)|(?<=\\[nrt]/)|(?<=file:/)/*)(?!/)"""
    r"""(?:[^\s"'`:;,()\[\]{}|\\]|\\[^"nrt])+"""
)
_INSIDE_BYTES = re.compile(_INSIDE.pattern.encode())

# A string of a trace that begins with a path is one, spaces and all, or the place of a function:
# `/data/ann/my code/a.py(12): forward`.
_WHOLE_STRING = re.compile(rb'"/(?<!\\"/)(?!/)(?:[^"\\]|\\.)*?(?=\(\d+\): |")')
_HOST_LINE = re.compile(rb'"host_name"\s*:\s*"(?:[^"\\]|\\.)*"')


def host_label(host: str) -> str:
    """A stable label for a host that does not tell its name."""
    return f"host-{hashlib.sha256(host.encode()).hexdigest()[:8]}"


def redact_run(run: RunRecord) -> RunRecord:
    """The record without host name, absolute paths and command line.

    The host becomes a label that tells two hosts apart and names none.
    """
    return replace(
        run,
        host=None if run.host is None else host_label(run.host),
        argv=(),
        config=redact_value(run.config),
        log=redact_value(run.log),
        checkpoint_dir=redact_value(run.checkpoint_dir),
        resumed_from=redact_value(run.resumed_from),
        redacted=True,
    )


def redact_value(value: Any) -> Any:
    """A value of the configuration, or what an event says, without absolute paths.

    A text that begins with a path is taken for one, spaces and all; inside a text a path ends at
    the first space, quote or bracket.
    """
    if isinstance(value, str):
        absolute = PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
        whole = absolute or value.startswith("~")
        return REDACTED_PATH if whole else _INSIDE.sub(REDACTED_PATH, value)
    if isinstance(value, Mapping):
        return {key: redact_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_value(item) for item in value]
    return value


def trace_redaction(host: str) -> TraceRewrite:
    """Rewrites lines of a profiler's trace: no absolute path, and `host` for the host's name."""
    path = REDACTED_PATH.encode()
    named = b'"host_name": "' + host.encode() + b'"'

    def rewrite(lines: bytes) -> bytes:
        lines = _HOST_LINE.sub(lambda _: named, lines)
        return _INSIDE_BYTES.sub(path, _WHOLE_STRING.sub(b'"' + path, lines))

    return rewrite
