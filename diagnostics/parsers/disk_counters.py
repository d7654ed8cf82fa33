"""Bytes that all disks have read and written so far, from /proc/diskstats."""

from pathlib import Path

from diagnostics.parsers.machine_files import read_small

_SECTOR_BYTES = 512  # the kernel's unit here, whatever the disk's own is
_STACKED = ("loop", "ram", "zram", "dm-", "md")
"""Devices on top of others, which count the same bytes, or in memory."""


def read_disk_counters(root: Path = Path("/")) -> tuple[int, int] | None:
    """Bytes read and written; None where the system does not tell or has no disk of its own."""
    text = read_small(root / "proc/diskstats")
    if text is None:
        return None
    read = written = 0
    seen = False
    for line in text.splitlines():
        words = line.split()
        if len(words) < 10 or not (words[5].isdigit() and words[9].isdigit()):
            continue
        name = words[2]
        if name.startswith(_STACKED) or not (root / "sys/block" / name).exists():
            continue  # a partition counts in its disk
        seen = True
        read += int(words[5]) * _SECTOR_BYTES
        written += int(words[9]) * _SECTOR_BYTES
    return (read, written) if seen else None
