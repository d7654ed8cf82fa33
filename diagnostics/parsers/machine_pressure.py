"""How much tasks wait for memory and disks now: the kernel's pressure stall information."""

from collections.abc import Iterable
from pathlib import Path

from diagnostics.parsers.machine_cgroup import group_folders
from diagnostics.parsers.machine_files import read_small

RESOURCES = ("memory", "io", "cpu")


def read_pressure(root: Path = Path("/")) -> dict[str, float]:
    """Shares of the last ten seconds in which some task, or every task, of the machine waited.

    Keys are as `memory_some`, `memory_full`, `io_some`. Empty where the kernel does not tell.
    """
    return _shares((name, root / "proc/pressure" / name) for name in RESOURCES)


def read_group_pressure(root: Path = Path("/")) -> dict[str, float]:
    """The same of the own control group; only version 2 tells."""
    for folder in group_folders(root):
        found = _shares((name, folder / f"{name}.pressure") for name in RESOURCES)
        if found:
            return found
    return {}


def _shares(files: Iterable[tuple[str, Path]]) -> dict[str, float]:
    found = {}
    for name, path in files:
        for line in (read_small(path) or "").splitlines():
            kind, _, rest = line.partition(" ")
            if kind in ("some", "full") and (name, kind) != ("cpu", "full"):
                share = _average(rest)
                if share is not None:
                    found[f"{name}_{kind}"] = share
    return found


def _average(words: str) -> float | None:
    """The share in `avg10=1.25 avg60=...`, which is in per cent."""
    for word in words.split():
        key, _, value = word.partition("=")
        if key == "avg10":
            try:
                share = float(value) / 100
            except ValueError:
                return None
            return share if 0 <= share <= 1 else None
    return None
