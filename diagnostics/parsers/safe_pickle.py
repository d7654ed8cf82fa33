"""Reads the harmless part of Python's pickles: containers, numbers and texts, and nothing else.

`pickle` runs whatever a file asks for. Here no opcode can name, call or build anything: those that
could end the reading with one line. What is left is bounded too: the size of the file, the number
of values, of digits, and of open marks; a key is a text or a number, so that no key needs hashing
in depth. What comes out may share parts (a list may hold one dict a million times), so that its
reader must count what it visits.
"""

import mmap
from pathlib import Path
from typing import Any

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say
from diagnostics.parsers.pickle_machine import DamagedError, RefusedError, plain_value
from diagnostics.parsers.unpacked import is_packed, unpacked

MAX_BYTES = 1 << 30


class UnsafePickleError(DiagnosticsError):
    """The file asks for more than plain data, or for too much of it."""


def is_pickle(head: bytes) -> bool:
    """Whether a file that begins so is a pickle of protocol 2 to 5, as PyTorch writes it."""
    return len(head) > 2 and head[:1] == b"\x80" and 2 <= head[1] <= 5


def read_plain_pickle(path: Path) -> Any:
    """The value in a file: dicts, lists, tuples, texts, bytes, numbers, booleans and None.

    A file that gzip has packed is unpacked in memory, up to what the size of a real one allows.

    Raises:
        UnsafePickleError: it holds anything else, or too much; one line.
        DiagnosticsError: it cannot be read, or is damaged.
    """
    try:
        with path.open("rb") as file:
            packed = is_packed(file.read(2))
            size = file.seek(0, 2)
            if size > MAX_BYTES:
                raise UnsafePickleError(
                    say(
                        "{path} has {size} MiB; snapshots up to {limit} MiB are read: record fewer "
                        "entries (max_entries)",
                        path=path,
                        size=size >> 20,
                        limit=MAX_BYTES >> 20,
                    )
                )
            if not size:
                raise DiagnosticsError(say("{path} is empty", path=path))
            if packed:
                with unpacked(path, file, size, MAX_BYTES) as data:
                    return _read(path, data)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(path, data)
    except OSError as error:
        raise DiagnosticsError(
            say("cannot read {path}: {strerror}", path=path, strerror=error.strerror)
        ) from None


def _read(path: Path, data: mmap.mmap) -> Any:
    try:
        return plain_value(data)
    except RefusedError as error:
        raise UnsafePickleError(
            say("{path} is refused: {reason}", path=path, reason=error.args[0])
        ) from None
    except DamagedError as error:
        raise DiagnosticsError(
            say(
                "{path} is no whole pickle of plain data: damaged at byte {place}",
                path=path,
                place=error.args[0],
            )
        ) from None
