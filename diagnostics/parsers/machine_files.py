"""Reading the small text files of /proc and /sys, which may vanish or be forbidden."""

from pathlib import Path

MAX_BYTES = 1 << 17


def read_small(path: Path) -> str | None:
    """The first 128 KiB of a kernel file as text; None when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def read_count(path: Path) -> int | None:
    """A file that holds one whole number, or None (also for `max`)."""
    text = read_small(path)
    if text is None:
        return None
    text = text.strip()
    return int(text) if text.isdigit() and len(text) < 20 else None


def read_table(path: Path) -> dict[str, int]:
    """Lines of `key value`, such as memory.stat; empty when the file cannot be read."""
    table = {}
    for line in (read_small(path) or "").splitlines():
        key, _, value = line.partition(" ")
        if value.strip().isdigit():
            table[key] = int(value)
    return table
