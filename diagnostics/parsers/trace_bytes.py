"""The bytes of a trace, plain or gzip, in blocks; a file cut short gives what it has."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from diagnostics.errors import DiagnosticsError

BLOCK_BYTES = 8 << 20
"""Large enough that the work per block vanishes, small beside any memory bound."""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = zlib.MAX_WBITS | 16
_READ_BYTES = 1 << 20


class TraceBytes:
    """Reads a file once, block by block.

    `is_cut_short` is set when a compressed file ended before its own end or was damaged there.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.is_cut_short = False

    def blocks(self) -> Iterator[bytes]:
        """The content in blocks of at most about `BLOCK_BYTES`."""
        block_bytes = BLOCK_BYTES
        head = self._file.read(2)
        self._file.seek(0)
        if head == _GZIP_MAGIC:
            yield from self._unzipped(block_bytes)
            return
        while block := self._file.read(block_bytes):
            yield block

    def _unzipped(self, block_bytes: int) -> Iterator[bytes]:
        unzip = zlib.decompressobj(_GZIP_WINDOW)
        packed = b""
        while True:
            packed = packed or self._file.read(_READ_BYTES)
            if not packed:
                self.is_cut_short = not unzip.eof
                return
            try:
                block = unzip.decompress(packed, block_bytes)
            except zlib.error:
                self.is_cut_short = True
                return
            packed = unzip.unconsumed_tail
            if unzip.eof:  # a file may hold several members, one after the other
                packed = unzip.unused_data or self._file.read(_READ_BYTES)
                if not packed.startswith(_GZIP_MAGIC):
                    packed = b""
                    self._file.seek(0, 2)
                else:
                    unzip = zlib.decompressobj(_GZIP_WINDOW)
            if block:
                yield block


@contextmanager
def open_trace(path: Path) -> Iterator[TraceBytes]:
    """Opens a trace for reading.

    Raises:
        DiagnosticsError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield TraceBytes(file)
    except OSError as error:
        raise DiagnosticsError(f"cannot read {path}: {error.strerror or error}") from None
