"""The kernel's own log, for what its OOM killer said: /dev/kmsg, else dmesg, else the journal.

All three are bounded in bytes and in time, and all three may be forbidden to an ordinary user
(kernel.dmesg_restrict); that is said and is no error.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from diagnostics.aftermath import KernelKill
from diagnostics.language import listed, say
from diagnostics.parsers.kernel_messages import read_kills

KMSG = Path("/dev/kmsg")
MAX_BYTES = 32 << 20
MAX_RECORDS = 400_000
TIMEOUT_S = 5.0
_RECORD_BYTES = 8192
_JOURNAL_LINES = 100_000
_DMESG = re.compile(r"^(?:<\d+>)?\[ *(\d{1,12}\.\d{1,9})\] ?(.*)")
_JOURNAL = re.compile(r"^(\d{9,12}\.\d{1,9}) \S+ kernel: ?(.*)")

Runner = Callable[[Sequence[str]], tuple[str | None, str]]
Lines = Iterator[tuple[float | None, str]]


@dataclass(frozen=True, kw_only=True)
class KernelLog:
    """The kills, and where they were read; `problem` where nothing could be."""

    kills: tuple[KernelKill, ...] = ()
    source: str | None = None
    problem: str | None = None


def read_kernel_log(
    since_unix_s: float | None = None,
    *,
    kmsg: Path = KMSG,
    run: Runner | None = None,
    now_s: Callable[[], float] = time.time,
    uptime_s: Callable[[], float] = time.monotonic,
) -> KernelLog:
    """Who was killed for memory since then.

    Args:
        since_unix_s: Earlier kills are left out; those without a time stay.
        kmsg: The log's device.
        run: Runs a command: its output, or None and why not.
        now_s: The time of day.
        uptime_s: The clock that the log's stamps count by.
    """
    run = run or run_bounded
    boot_s = now_s() - uptime_s()
    problems: list[str] = []
    readers: tuple[tuple[str, Callable[[], tuple[Lines | None, str]]], ...] = (
        (str(kmsg), lambda: _from_kmsg(kmsg, boot_s)),
        ("dmesg", lambda: _from_text(run(["dmesg"]), _DMESG, boot_s)),
        ("journalctl", lambda: _from_text(run(_journal_command(since_unix_s)), _JOURNAL, 0.0)),
    )
    for source, read in readers:
        lines, problem = read()
        if lines is not None:
            kills = read_kills(lines, _page_bytes())
            return KernelLog(kills=tuple(_since(kills, since_unix_s)), source=source)
        problems.append(say("{source}: {problem}", source=source, problem=problem))
    return KernelLog(problem=listed(problems, "; "))


def _since(kills: Sequence[KernelKill], since_unix_s: float | None) -> Iterator[KernelKill]:
    for kill in kills:
        if since_unix_s is None or kill.at_unix_s is None or kill.at_unix_s >= since_unix_s:
            yield kill


def _page_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _from_kmsg(path: Path, boot_s: float) -> tuple[Lines | None, str]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return None, error.strerror or str(error)
    try:
        records = list(_records(descriptor))
    except OSError as error:
        return None, error.strerror or str(error)
    finally:
        os.close(descriptor)
    return (_of_record(record, boot_s) for record in records), ""


def _records(descriptor: int) -> Iterator[bytes]:
    """One record for each read, until the log has no more; then a read would wait."""
    left = MAX_BYTES
    for _ in range(MAX_RECORDS):
        try:
            record = os.read(descriptor, _RECORD_BYTES)
        except BlockingIOError:
            return
        except BrokenPipeError:  # overwritten before it was read: the next one is there
            continue
        left -= len(record)
        if not record or left < 0:
            return
        yield record


def _of_record(record: bytes, boot_s: float) -> tuple[float | None, str]:
    """`6,1234,5678901234,-;text`: priority, number, microseconds since the start of the machine."""
    head, _, text = record.decode("utf-8", "replace").partition(";")
    fields = head.split(",")
    stamp = fields[2] if len(fields) > 2 else ""
    at = boot_s + int(stamp) / 1e6 if stamp.isdecimal() and len(stamp) < 19 else None
    return at, text.partition("\n")[0]


def _from_text(
    answer: tuple[str | None, str], form: "re.Pattern[str]", boot_s: float
) -> tuple[Lines | None, str]:
    text, problem = answer
    if text is None:
        return None, problem
    return (_of_line(line, form, boot_s) for line in text.splitlines()[-MAX_RECORDS:]), ""


def _of_line(line: str, form: "re.Pattern[str]", boot_s: float) -> tuple[float | None, str]:
    found = form.match(line)
    return (None, line) if found is None else (boot_s + float(found[1]), found[2])


def _journal_command(since_unix_s: float | None) -> list[str]:
    command = [
        "journalctl",
        "-k",
        "-q",
        "--no-pager",
        "-o",
        "short-unix",
        "-n",
        str(_JOURNAL_LINES),
    ]
    return command if since_unix_s is None else [*command, "--since", f"@{int(since_unix_s)}"]


def run_bounded(command: Sequence[str]) -> tuple[str | None, str]:
    """A command's output, its last `MAX_BYTES`; None and why where it fails or takes too long."""
    environment = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=TIMEOUT_S, check=False, env=environment
        )
    except FileNotFoundError:
        return None, "not installed"
    except subprocess.TimeoutExpired:
        return None, say("no answer within {limit:.0f} s", limit=TIMEOUT_S)
    except OSError as error:
        return None, error.strerror or str(error)
    if done.returncode or not done.stdout.strip():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return None, said[-1][:200] if said else "it shows nothing"
    return done.stdout[-MAX_BYTES:].decode("utf-8", "replace"), ""
