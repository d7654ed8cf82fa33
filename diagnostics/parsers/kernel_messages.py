"""The lines in which Linux's OOM killer says whom it ended, from 3.10 to 6.x.

A kill is several lines: who asked for memory, whose limit it was, the candidates as a table, the
victim. Versions differ in wording; what is common to them is read here.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from diagnostics.aftermath import KernelKill

MAX_KILLS = 256
MAX_TASKS = 4096
KIB = 1024
GROUP, MACHINE = "group", "machine"

_INVOKED = re.compile(r"(.{1,40}?) invoked oom-killer:")
_SUMMARY = re.compile(r"oom-kill:constraint=(\w{1,40}),(.{0,2000})")
_KILLED = re.compile(r"Killed process (\d{1,10}),?(?: UID \d+,)? \((.{1,64}?)\),? total-vm")
_DOOMED = re.compile(r"Kill process (\d{1,10}) \((.{1,64}?)\) score")
_SCOPE = re.compile(r"(?:(Memory cgroup) o|O)ut of memory:")
_RESIDENT = re.compile(r"(anon|file|shmem)-rss:(\d{1,15})kB")
_TASK_HEAD = re.compile(r"\[ *pid *\] +(.{1,200})")
_TASK = re.compile(r"\[ *(\d{1,10})\] +(.{1,300})")


@dataclass
class _Episode:
    """The lines since the OOM killer was last invoked."""

    scope: str = ""
    group: str | None = None
    limit_group: str | None = None
    columns: tuple[str, ...] = ()
    tasks: dict[int, int] = field(default_factory=dict)


def read_kills(
    lines: Iterable[tuple[float | None, str]], page_bytes: int = 4096
) -> tuple[KernelKill, ...]:
    """Every victim that the lines name, in their order, the last `MAX_KILLS` of them.

    Args:
        lines: When (seconds since the epoch, None where unknown) and what the kernel said.
        page_bytes: The machine's page size, in which the candidates are listed.
    """
    found: list[KernelKill] = []
    episode = _Episode()
    for at_unix_s, text in lines:
        if _INVOKED.search(text):
            episode = _Episode()
        elif summary := _SUMMARY.search(text):
            _read_summary(episode, summary[1], summary[2])
        elif killed := _KILLED.search(text):
            _read_scope(episode, text)
            found.append(_kill(at_unix_s, int(killed[1]), killed[2], episode, _resident(text)))
            episode = _Episode(episode.scope, episode.group, episode.limit_group)
        elif _DOOMED.search(text):  # before 4.20 the scope stood here, and the sizes a line below
            _read_scope(episode, text)
        elif head := _TASK_HEAD.search(text):
            episode.columns = tuple(head[1].split())
        elif episode.columns and (task := _TASK.search(text)):
            _read_task(episode, int(task[1]), task[2].split(), page_bytes)
        del found[:-MAX_KILLS]
    return tuple(found)


def _kill(
    at_unix_s: float | None, pid: int, name: str, episode: _Episode, resident: int | None
) -> KernelKill:
    return KernelKill(
        at_unix_s=at_unix_s,
        pid=pid,
        name=name,
        scope=episode.scope,
        group=episode.group,
        limit_group=episode.limit_group,
        resident_bytes=resident,
        tasks=dict(episode.tasks),
    )


def _read_summary(episode: _Episode, constraint: str, rest: str) -> None:
    """`constraint=CONSTRAINT_MEMCG,...,oom_memcg=/limit,task_memcg=/victim,task=python,pid=1`."""
    if constraint == "CONSTRAINT_MEMCG":
        episode.scope = GROUP
    elif constraint in ("CONSTRAINT_NONE", "CONSTRAINT_CPUSET", "CONSTRAINT_MEMORY_POLICY"):
        episode.scope = MACHINE
    for key, value in re.findall(r"(oom_memcg|task_memcg)=([^,]{1,1000})", rest):
        if key == "oom_memcg":
            episode.limit_group = value
        else:
            episode.group = value


def _read_scope(episode: _Episode, text: str) -> None:
    """`Memory cgroup out of memory: Kill...` against `Out of memory: Kill...`."""
    if episode.scope:
        return
    if said := _SCOPE.search(text):
        episode.scope = GROUP if said[1] else MACHINE


def _resident(text: str) -> int | None:
    parts = [int(size) * KIB for _, size in _RESIDENT.findall(text)]
    return sum(parts) if parts else None


def _read_task(episode: _Episode, pid: int, words: list[str], page_bytes: int) -> None:
    """A row of the table of candidates: its `rss` counts pages."""
    if "rss" not in episode.columns or len(episode.tasks) >= MAX_TASKS:
        return
    place = episode.columns.index("rss")
    if place < len(words) and words[place].isdigit() and len(words[place]) < 16:
        episode.tasks[pid] = int(words[place]) * page_bytes
