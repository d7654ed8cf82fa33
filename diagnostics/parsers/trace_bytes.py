"""The bytes of a trace, plain or gzip, in blocks; a file cut short gives what it has."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say

BLOCK_BYTES = 4 << 20
"""Large enough that the work per block vanishes, small beside any memory bound."""

MAX_EXPANSION, MIN_UNPACKED_BYTES = 100, 32 << 20
"""A compressed file is read up to this multiple of its size, and up to this length in any case:
traces shrink to 1/8 to 1/40, and a gigabyte of one character to 1/1000."""

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = zlib.MAX_WBITS | 16
_READ_BYTES = 1 << 20


class TraceBytes:
    """Reads a file once, block by block, up to the size that it has now.

    `is_cut_short` is set when a compressed file ended before its own end or was damaged there,
    `is_left_out` when it would have become longer than is read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = self._left = os.fstat(file.fileno()).st_size
        self.is_packed = self.peek(0, len(_GZIP_MAGIC)) == _GZIP_MAGIC
        self._max_unpacked = max(MAX_EXPANSION * self.size, MIN_UNPACKED_BYTES)
        self.is_cut_short = False
        self.is_left_out = False

    def blocks(self) -> Iterator[bytes]:
        """The content in blocks of at most about `BLOCK_BYTES`."""
        if self.is_packed:
            yield from self._bounded(self._unzipped())
        else:
            yield from self.blocks_from(0)

    def blocks_from(self, at: int) -> Iterator[bytes]:
        """The content of a plain file from a place on."""
        self._file.seek(at)
        self._left = self.size - at
        while block := self._read(BLOCK_BYTES):
            yield block

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self.size - self._left

    def peek(self, at: int, num_bytes: int) -> bytes:
        """What stands at a place of the file; reading goes on where it was."""
        return os.pread(self._file.fileno(), num_bytes, at)

    def _read(self, num_bytes: int) -> bytes:
        """The file may grow meanwhile, faster than it is read."""
        block = self._file.read(min(num_bytes, self._left))
        self._left -= len(block)
        return block

    def _bounded(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        left = self._max_unpacked
        for block in blocks:
            yield block[:left]
            left -= len(block)
            if left < 0:
                self.is_left_out = True
                return

    def _unzipped(self) -> Iterator[bytes]:
        """All members: a file may hold several, one after the other."""
        packed = self._read(_READ_BYTES)
        while packed.startswith(_GZIP_MAGIC):
            unzip = zlib.decompressobj(_GZIP_WINDOW)
            yield from self._member(unzip, packed)
            packed = unzip.unused_data
            if len(packed) < len(_GZIP_MAGIC):
                packed += self._read(_READ_BYTES)

    def _member(self, unzip: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
        while not self.is_cut_short:
            try:
                block = unzip.decompress(packed, BLOCK_BYTES)
            except zlib.error:
                self.is_cut_short = True
                return
            if block:
                yield block
            if unzip.eof:
                return
            self.is_cut_short = not packed and not block
            packed = unzip.unconsumed_tail or self._read(_READ_BYTES)


@contextmanager
def open_trace(path: Path) -> Iterator[TraceBytes]:
    """Opens a trace for reading.

    Raises:
        DiagnosticsError: it cannot be read.
    """
    try:
        if not path.is_file():  # to open a pipe would wait for whoever writes to it
            raise DiagnosticsError(say("cannot read {path}: it is no plain file", path=path))
        with path.open("rb") as file:
            yield TraceBytes(file)
    except OSError as error:
        raise DiagnosticsError(
            say("cannot read {path}: {strerror}", path=path, strerror=error.strerror or error)
        ) from None
