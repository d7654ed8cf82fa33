"""Reads the small files of /proc and /sys cheaply; needs no PyTorch.

A file that is not there, or that may not be read, is None: kernels and containers differ.
"""

import os
from collections.abc import Mapping
from pathlib import Path

_MAX_BYTES = 1 << 18


def read_small(path: str | Path) -> str | None:
    """The text of a file of the kernel, or None where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        parts = []
        while part := os.read(descriptor, _MAX_BYTES):
            parts.append(part)
            if len(part) == _MAX_BYTES:  # no file that is read here is that large
                break
    except OSError:  # the process of a /proc file may end between open and read
        return None
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("utf-8", "replace")


def number(text: str | None) -> int | None:
    """The whole number that a file holds; None for "max" and the like."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def table(text: str | None) -> Mapping[str, int]:
    """The lines `name number [unit]` of a file, by name; a colon after the name is dropped."""
    rows = (line.split() for line in (text or "").splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def stall_us(text: str | None, kind: str) -> int | None:
    """The microseconds of waiting so far in a file of pressure stall information.

    Args:
        text: Its lines, as in `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`.
        kind: some (at least one task waited) or full (all did).
    """
    for line in (text or "").splitlines():
        head, _, total = line.partition(" total=")
        if head.split(" ", 1)[0] == kind:
            return number(total)
    return None
