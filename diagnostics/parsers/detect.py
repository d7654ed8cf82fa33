"""What kind of input a path is, by its content."""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers.facts import is_facts_folder
from diagnostics.parsers.locate import runs_below
from diagnostics.parsers.safe_pickle import is_pickle
from diagnostics.parsers.trace_folder import could_be_traces
from diagnostics.run import InputKind

_HEAD_BYTES = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_NUL_RUN = re.compile(rb"\0{8,}")
_PICKLES = (".pickle", ".pkl")
_PACKED_PICKLES = (".pickle.gz", ".pkl.gz")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def detect(path: Path) -> InputKind:
    """The kind of input. `unknown` is a plain file of a format that no reader is for.

    Raises:
        DiagnosticsError: it does not exist, cannot be read, is empty, or is not a plain file.
    """
    try:
        if path.is_dir():
            return _detect_folder(path)
        if not path.exists():
            raise DiagnosticsError(say("{path} does not exist", path=path))
        if not path.is_file():
            raise DiagnosticsError(say("{path} is neither a plain file nor a folder", path=path))
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DiagnosticsError(
            say("cannot read {path}: {reason}", path=path, reason=_reason(error))
        ) from None
    return _detect_file(path, head)


def _detect_folder(folder: Path) -> InputKind:
    if is_facts_folder(folder):
        return "facts folder"
    below = runs_below(folder)
    if below.folders:
        return "folder of runs"
    if next(iter_traces(folder), None) is not None:
        return "folder of traces"
    if below.unread:
        raise DiagnosticsError(
            say(
                "{folder} holds no run that can be read: {unread}",
                folder=folder,
                unread=below.unread[0],
            )
        )
    raise DiagnosticsError(
        say(
            "{folder} holds no run: a run is a folder with meta.json and steps.rank0.jsonl; "
            "give it, the folder of runs (profiles/), or a text log",
            folder=folder,
        )
    )


def iter_traces(folder: Path) -> Iterator[Path]:
    """The traces of a folder, by their content, in the order of their names.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in could_be_traces(folder):
        with suppress(DiagnosticsError):  # a file that cannot be read is none
            if detect(path) == "trace":
                yield path


def _detect_file(path: Path, head: bytes) -> InputKind:
    if is_pickle(head) or (head and path.suffix in _PICKLES):
        return "memory snapshot"
    if not head:
        raise DiagnosticsError(say("{path} is empty: there is no line to read", path=path))
    if head.startswith(_GZIP_MAGIC):
        return _detect_packed(path)
    if path.suffix == ".jsonl" and b'"time_metrics/' in head:
        return "text log"
    if path.suffix == ".jsonl" or path.name == "meta.json":
        return "facts folder" if is_facts_folder(path.parent) else "unknown"
    if head.lstrip()[:1] in (b"{", b"["):
        return "trace" if _is_trace(head) else _detect_text(head)
    return _detect_text(head)


def _detect_packed(path: Path) -> InputKind:
    head = _gunzip_head(path)
    if is_pickle(head) or (head and path.name.endswith(_PACKED_PICKLES)):
        return "memory snapshot"
    return "trace" if _is_trace(head) else "unknown"


def _detect_text(head: bytes) -> InputKind:
    """Text may be damaged, and hold the runs of NULs that a file system leaves after a crash."""
    if head.startswith(_UTF16_MARKS):
        return "unknown"
    text = _NUL_RUN.sub(b"", head)
    damaged = text.decode("utf-8", "replace").count("\ufffd") + text.count(b"\0")
    return "text log" if text and damaged * 10 <= len(text) else "unknown"


def _is_trace(head: bytes) -> bool:
    start = head.lstrip()
    if start[:1] == b"{":
        return b'"traceEvents"' in head or b'"schemaVersion"' in head
    return start[:1] == b"[" and b'"ph"' in head


def _gunzip_head(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
