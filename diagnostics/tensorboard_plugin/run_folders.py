"""The runs below TensorBoard's folder, found without reading any of them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_DEPTH = 3
MAX_FOLDERS = 5000
"""Folders looked at in one search: a home directory given by mistake must not hang the tab."""

META = "meta.json"
STEPS_PREFIX = "steps.rank"
TRACE_ENDINGS = (".pt.trace.json", ".pt.trace.json.gz")


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run by its folder. `paths` are what to read: the folder of facts, or traces alone.

    `fingerprint` changes when a file of the run does.
    """

    name: str
    paths: tuple[Path, ...]
    changed_unix_s: float
    fingerprint: tuple[tuple[str, int, int], ...]


def find_runs(logdir: Path) -> tuple[RunFolder, ...]:
    """The runs, the one that changed last first; a folder that cannot be read holds none."""
    found = (_run_of(logdir, folder, files) for folder, files in _folders(logdir))
    runs = [run for run in found if run is not None]
    return tuple(sorted(runs, key=lambda run: (-run.changed_unix_s, run.name)))


def has_run(logdir: Path) -> bool:
    """Whether there is any."""
    return any(_run_of(logdir, folder, files) for folder, files in _folders(logdir))


def _folders(logdir: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Each folder with its files, links to folders left out."""
    waiting = [(logdir, 0)]
    for _ in range(MAX_FOLDERS):
        if not waiting:
            return
        folder, depth = waiting.pop(0)
        try:
            with os.scandir(folder) as entries:
                inside = sorted(entries, key=lambda each: each.name)
            below = [each for each in inside if each.is_dir(follow_symlinks=False)]
            files = [each for each in inside if each.is_file()]
        except OSError:
            continue
        yield folder, files
        if depth < MAX_DEPTH:
            waiting += [(folder / each.name, depth + 1) for each in below]


def _run_of(logdir: Path, folder: Path, files: list[os.DirEntry[str]]) -> RunFolder | None:
    has_facts = any(each.name == META or each.name.startswith(STEPS_PREFIX) for each in files)
    traces = [each for each in files if each.name.endswith(TRACE_ENDINGS)]
    if not has_facts and not traces:
        return None
    try:
        states = [(each.name, each.stat()) for each in (files if has_facts else traces)]
    except OSError:
        return None
    name = folder.relative_to(logdir).as_posix()
    return RunFolder(
        name=logdir.resolve().name if name == "." else name,
        paths=(folder,) if has_facts else tuple(folder / each.name for each in traces),
        changed_unix_s=max(state.st_mtime for _, state in states),
        fingerprint=tuple((each, state.st_mtime_ns, state.st_size) for each, state in states),
    )
