"""Lines of a file of any size and any content, one at a time, in bounded memory."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from diagnostics.errors import DiagnosticsError
from diagnostics.language import say

_CHUNK_BYTES = 1 << 20


class LineReader:
    """Yields the lines of a file as bytes, without their ends (LF, CRLF or a progress bar's CR).

    Lines longer than `max_line_bytes` are left out and counted in `num_too_long`. A last line
    without its end may be cut: it is left out and `is_last_cut` is set. `line_number` is that of
    the line yielded last, counted from 1; lines that were left out count too. With `part`, only
    those bytes of the file are read, which begin with a line and end with one.
    """

    def __init__(
        self, path: Path, max_line_bytes: int, part: tuple[int, int] | None = None
    ) -> None:
        self.path = path
        self.max_line_bytes = max_line_bytes
        self.part = part
        self.line_number = 0
        self.num_too_long = 0
        self.is_last_cut = False

    def __iter__(self) -> Iterator[bytes]:
        """Reads the file.

        Raises:
            DiagnosticsError: the file cannot be read.
        """
        for block in self._blocks():
            for line in block.splitlines():
                self.line_number += 1
                if len(line) > self.max_line_bytes:
                    self.num_too_long += 1
                else:
                    yield line

    def blocks(self, clean: Callable[[bytes], bytes]) -> Iterator[list[bytes]]:
        """The lines of a block at a time, after `clean`; `line_number` is that of the last.

        One that is left out is empty, so that the others keep their numbers.

        Raises:
            DiagnosticsError: the file cannot be read.
        """
        for block in self._blocks():
            lines = clean(block).splitlines()
            if max(map(len, lines), default=0) > self.max_line_bytes:
                too_long = [place for place, line in enumerate(lines) if self._is_too_long(line)]
                self.num_too_long += len(too_long)
                for place in too_long:
                    lines[place] = b""
            self.line_number += len(lines)
            yield lines

    def _is_too_long(self, line: bytes) -> bool:
        return len(line) > self.max_line_bytes

    def _blocks(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                yield from self._whole_lines(self._chunks(file))
        except OSError as error:
            raise DiagnosticsError(
                say("cannot read {path}: {strerror}", path=self.path, strerror=error.strerror)
            ) from None

    def _chunks(self, file: BinaryIO) -> Iterator[bytes]:
        start, end = self.part or (0, None)
        file.seek(start)
        left = None if end is None else end - start
        while chunk := file.read(_CHUNK_BYTES if left is None else min(_CHUNK_BYTES, left)):
            left = None if left is None else left - len(chunk)
            yield chunk

    def _whole_lines(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Complete lines; of one that is too long, only enough to see that it is."""
        carry = b""
        for chunk in chunks:
            block = carry + chunk
            end = _end_of_last_line(block)
            yield block[:end]
            carry = block[end:]
            if len(carry) > self.max_line_bytes + 1:  # a final CR may belong to a CRLF
                keep_cr = b"\r" if carry.endswith(b"\r") else b""
                carry = carry[: self.max_line_bytes + 1] + keep_cr
        if carry.endswith(b"\r"):
            yield carry
        elif carry:
            self.is_last_cut = True

    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        return reader_notes(self.num_too_long, self.max_line_bytes, is_last_cut=self.is_last_cut)


def reader_notes(num_too_long: int, max_line_bytes: int, *, is_last_cut: bool) -> tuple[str, ...]:
    """What a reader left out, in sentences."""
    found = []
    if num_too_long:
        found.append(
            say(
                "{num_too_long} line(s) (was|were) left out: longer than {max_line_bytes} bytes",
                num_too_long=num_too_long,
                max_line_bytes=max_line_bytes,
            )
        )
    if is_last_cut:
        found.append("the last line has no end; it may be cut and was left out")
    return tuple(found)


def _end_of_last_line(block: bytes) -> int:
    """Index behind the last line end; a CR at the very end waits for its possible LF."""
    last_cr = block.rfind(b"\r", 0, len(block) - 1)
    return max(block.rfind(b"\n"), last_cr) + 1
