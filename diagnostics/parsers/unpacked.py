"""A file that gzip has packed, unpacked into memory that ends with its use, and within bounds.

A thousand bytes can unpack to a million. A snapshot shrinks to a tenth (72,000 entries in a loop
of 20 frames: to a seventh in pickles of protocol 2, to an eleventh in those of 4), so a file that
grows tenfold beyond that is refused before it fills the memory.
"""

import gzip
import mmap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say

_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 1 << 20
_LEAST_LIMIT_BYTES = 16 << 20
_MOST_TIMES = 100


def is_packed(head: bytes) -> bool:
    """Whether a file that begins so was packed by gzip."""
    return head.startswith(_MAGIC)


@contextmanager
def unpacked(path: Path, file: IO[bytes], size: int, most: int) -> Iterator[mmap.mmap]:
    """What the file holds.

    Args:
        path: Named in errors.
        file: Open for reading.
        size: Its length in bytes.
        most: No more bytes than that are unpacked.

    Raises:
        DiagnosticsError: it is damaged, holds nothing, or too much; one line.
        OSError: it cannot be read, or the memory cannot be had.
    """
    limit = min(most, max(_LEAST_LIMIT_BYTES, size * _MOST_TIMES))
    # Only pages that are written to are memory.
    with mmap.mmap(-1, limit + 1, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        found = _unpack(path, file, area)
        if found > limit:
            raise DiagnosticsError(
                say(
                    "{path} is refused: its {size} KiB unpack to more than {limit} MiB; if it is "
                    "a real snapshot, record fewer entries (max_entries), or unpack it with gunzip",
                    path=path,
                    size=size >> 10,
                    limit=limit >> 20,
                )
            )
        if not found:
            raise DiagnosticsError(say("{path} is empty", path=path))
        area.resize(found)
        yield area


def _unpack(path: Path, file: IO[bytes], area: mmap.mmap) -> int:
    """How many bytes it came to; at most the length of `area`."""
    at = 0
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as packed:
            while piece := packed.read(min(_PIECE_BYTES, len(area) - at)):
                area[at : at + len(piece)] = piece
                at += len(piece)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DiagnosticsError(
            say(
                "{path} cannot be unpacked: damaged or cut short after {count} bytes of its "
                "content",
                path=path,
                count=at,
            )
        ) from None
    return at
