"""Files of the black box that lie in a facts folder, by their names alone; none is opened.

A run that is killed may leave one that no event tells of, and `stuck.rankN.txt` is written by C
code that can tell nobody.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = "blackbox"
MAX_FILES = 1000
_DUMP = re.compile(r"(\d{1,11})_([a-z_]{1,40})\.rank(\d{1,6})\.json")
_STUCK = re.compile(r"stuck\.rank(\d{1,6})\.txt")


@dataclass(frozen=True, kw_only=True)
class FoundDump:
    """A file of the black box; `file` is relative to the facts folder."""

    rank: int
    reason: str
    file: str
    at_unix_s: float | None


def find_dumps(facts_folder: Path) -> tuple[FoundDump, ...]:
    """The files by name; empty where there is no such folder, or it cannot be read."""
    folder = facts_folder / FOLDER
    try:
        if folder.is_symlink() or not folder.is_dir():
            return ()
        names = sorted(each.name for each in _plain_files(folder))
    except OSError:
        return ()
    return tuple(found for name in names[:MAX_FILES] if (found := _by_name(name)) is not None)


def _plain_files(folder: Path) -> Iterator[Path]:
    for each in folder.iterdir():
        if each.is_file() and not each.is_symlink() and each.stat().st_size:
            yield each


def _by_name(name: str) -> FoundDump | None:
    file = f"{FOLDER}/{name}"
    if dump := _DUMP.fullmatch(name):
        return FoundDump(rank=int(dump[3]), reason=dump[2], file=file, at_unix_s=float(dump[1]))
    if stuck := _STUCK.fullmatch(name):
        return FoundDump(rank=int(stuck[1]), reason="stuck", file=file, at_unix_s=None)
    return None
