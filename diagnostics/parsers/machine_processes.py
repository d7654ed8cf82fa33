"""Processes and their memory from /proc; psutil where there is no /proc.

PSS comes from `smaps_rollup`, which Linux shows only to the owner (or root); where it is refused
the value is None and the reason is kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from diagnostics.machine import ProcessState
from diagnostics.parsers.machine_files import read_small

KIB = 1024
_PINNING_THREAD = "pt_data_pin"  # what PyTorch calls the thread that pins a loader's batches
_MAX_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class ProcessEntry:
    """A process as listed: enough to find a trainer's tree, without its memory."""

    pid: int
    parent_pid: int
    name: str
    command: tuple[str, ...]


def list_processes(root: Path = Path("/")) -> tuple[ProcessEntry, ...]:
    """Every process this user can see, by process id; those that end meanwhile are left out."""
    proc = root / "proc"
    if (proc / "self").exists() or root != Path("/"):
        entries = [_entry(proc / str(pid), pid) for pid in _pids(proc)]
    else:
        entries = list(_psutil_entries())
    return tuple(sorted((e for e in entries if e is not None), key=lambda entry: entry.pid))


def read_processes(
    entries: Iterable[ProcessEntry], root: Path = Path("/")
) -> tuple[ProcessState, ...]:
    """The memory of the given processes; those that have ended are left out."""
    proc = root / "proc"
    if (proc / "self").exists() or root != Path("/"):
        states = [_state(proc / str(entry.pid), entry) for entry in entries]
    else:
        states = [_psutil_state(entry) for entry in entries]
    return tuple(state for state in states if state is not None)


def _pids(proc: Path) -> Iterator[int]:
    try:
        names = [path.name for path in proc.iterdir()]
    except OSError:
        return
    yield from (int(name) for name in names if name.isascii() and name.isdigit())


def _entry(folder: Path, pid: int) -> ProcessEntry | None:
    stat, command = read_small(folder / "stat"), read_small(folder / "cmdline")
    if stat is None or command is None:
        return None
    # "pid (name) state ppid ...", and the name itself may hold parentheses and spaces.
    name = stat.partition("(")[2].rpartition(")")[0]
    rest = stat.rpartition(")")[2].split()
    if len(rest) < 2 or not rest[1].isdigit():
        return None
    words = tuple(command.rstrip("\0").split("\0")) if command else ()
    return ProcessEntry(pid=pid, parent_pid=int(rest[1]), name=name, command=words)


def _state(folder: Path, entry: ProcessEntry) -> ProcessState | None:
    status = _kib_table(read_small(folder / "status"))
    if status is None:
        return None
    unknown = {}
    rollup = _kib_table(read_small(folder / "smaps_rollup"))
    if rollup is None or "Pss" not in rollup:
        if "VmRSS" not in status or read_small(folder / "stat") is None:
            return None  # it has ended meanwhile, or waits for its parent to hear of its end
        reason = "smaps_rollup is not readable by this user (another user's process)"
        unknown = dict.fromkeys(("pss_bytes", "uss_bytes"), reason)
        rollup = {}
    private = [rollup.get(key) for key in ("Private_Clean", "Private_Dirty", "Private_Hugetlb")]
    return ProcessState(
        pid=entry.pid,
        parent_pid=entry.parent_pid,
        name=entry.name,
        command=entry.command,
        rank=read_rank(entry.pid, folder.parent.parent),
        rss_bytes=status.get("VmRSS"),
        pss_bytes=rollup.get("Pss"),
        uss_bytes=sum(p for p in private if p is not None) if "Pss" in rollup else None,
        shm_bytes=rollup.get("Pss_Shmem"),
        locked_bytes=_locked(status),
        is_pinning=_PINNING_THREAD in _thread_names(folder),
        shared_bytes=_shared(status),
        swap_bytes=status.get("VmSwap"),
        unknown=unknown,
    )


def _locked(status: dict[str, int]) -> int | None:
    parts = [status[key] for key in ("VmLck", "VmPin") if key in status]
    return sum(parts) if parts else None


def _thread_names(folder: Path) -> set[str]:
    """Names of its threads; those of a process with very many are not looked at."""
    try:
        tasks = sorted((folder / "task").iterdir())
    except OSError:
        return set()
    names = (read_small(task / "comm") for task in tasks[:_MAX_THREADS])
    return {name.strip() for name in names if name}


def _shared(status: dict[str, int]) -> int | None:
    parts = [status[key] for key in ("RssFile", "RssShmem") if key in status]
    return sum(parts) if parts else None


def _kib_table(text: str | None) -> dict[str, int] | None:
    """`Key:  123 kB` lines in bytes; None when there was nothing to read."""
    if not text:
        return None
    table = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        parts = rest.split()
        if len(parts) == 2 and parts[1] == "kB" and parts[0].isdigit():
            table[key] = int(parts[0]) * KIB
    return table


def read_rank(pid: int, root: Path = Path("/")) -> int | None:
    """RANK of the process's environment, which torchrun sets; None when not told or not shown."""
    environment = read_small(root / "proc" / str(pid) / "environ") or ""
    for word in environment.split("\0"):
        name, _, value = word.partition("=")
        if name == "RANK" and value.isdigit() and len(value) < 7:
            return int(value)
    return None


def _psutil_entries() -> Iterator[ProcessEntry]:
    for process in psutil.process_iter(["pid", "ppid", "name", "cmdline"]):
        facts = process.info
        yield ProcessEntry(
            pid=facts["pid"],
            parent_pid=facts["ppid"] or 0,
            name=facts["name"] or "",
            command=tuple(facts["cmdline"] or ()),
        )


def _psutil_state(entry: ProcessEntry) -> ProcessState | None:
    reason = "this system does not tell it"
    try:
        rss = psutil.Process(entry.pid).memory_info().rss
    except psutil.Error:
        return None
    missing = ("pss_bytes", "uss_bytes", "shared_bytes", "swap_bytes", "rank")
    return ProcessState(
        pid=entry.pid,
        parent_pid=entry.parent_pid,
        name=entry.name,
        command=entry.command,
        rss_bytes=rss,
        unknown=dict.fromkeys(missing, reason),
    )
