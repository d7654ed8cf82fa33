"""Lines of a file of any size and any content, one at a time, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

from diagnostics.errors import DiagnosticsError

_CHUNK_BYTES = 1 << 20


class LineReader:
    """Yields the lines of a file as bytes, without their ends (LF, CRLF or a progress bar's CR).

    Lines longer than `max_line_bytes` are left out and counted in `num_too_long`. A last line
    without its end may be cut: it is left out and `is_last_cut` is set. `line_number` is that of
    the line yielded last, counted from 1; lines that were left out count too.
    """

    def __init__(self, path: Path, max_line_bytes: int) -> None:
        self.path = path
        self.max_line_bytes = max_line_bytes
        self.line_number = 0
        self.num_too_long = 0
        self.is_last_cut = False

    def __iter__(self) -> Iterator[bytes]:
        """Reads the file.

        Raises:
            DiagnosticsError: the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                for line in self._split(iter(lambda: file.read(_CHUNK_BYTES), b"")):
                    self.line_number += 1
                    if len(line) > self.max_line_bytes:
                        self.num_too_long += 1
                    else:
                        yield line
        except OSError as error:
            raise DiagnosticsError(f"cannot read {self.path}: {error.strerror}") from None

    def _split(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Complete lines; of one that is too long, only enough to see that it is."""
        carry = b""
        for chunk in chunks:
            block = carry + chunk
            end = _end_of_last_line(block)
            yield from block[:end].splitlines()
            carry = block[end:]
            if len(carry) > self.max_line_bytes + 1:  # a final CR may belong to a CRLF
                keep_cr = b"\r" if carry.endswith(b"\r") else b""
                carry = carry[: self.max_line_bytes + 1] + keep_cr
        if carry.endswith(b"\r"):
            yield carry[:-1]
        elif carry:
            self.is_last_cut = True

    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        found = []
        if self.num_too_long:
            found.append(
                f"{self.num_too_long} lines longer than {self.max_line_bytes} bytes were left out"
            )
        if self.is_last_cut:
            found.append("the last line has no end; it may be cut and was left out")
        return tuple(found)


def _end_of_last_line(block: bytes) -> int:
    """Index behind the last line end; a CR at the very end waits for its possible LF."""
    last_cr = block.rfind(b"\r", 0, len(block) - 1)
    return max(block.rfind(b"\n"), last_cr) + 1
