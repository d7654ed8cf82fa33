"""The kernel's log: its words across versions, its three sources, and a user who may read none."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from diagnostics.parsers.kernel_log import KernelLog, read_kernel_log, run_bounded
from diagnostics.parsers.kernel_messages import MAX_KILLS, read_kills

LOGS = Path(__file__).parents[2] / "data" / "kernel_logs"
KIB, PAGE = 1024, 4096


def kills_of(name: str):
    lines = [(None, line) for line in (LOGS / name).read_text().splitlines()]
    return read_kills(lines)


def test_a_kill_in_a_group_names_victim_group_limit_and_candidates() -> None:
    (kill,) = kills_of("linux_6.18_cgroup.txt")
    assert (kill.pid, kill.name, kill.scope) == (4179, "python", "group")
    assert (kill.group, kill.limit_group) == ("/jobs/train", "/jobs")
    assert kill.resident_bytes == (443432 + 88076) * KIB
    assert kill.tasks == {4179: 132877 * PAGE, 4212: 6513 * PAGE}


def test_a_kill_for_the_machine_is_none_of_a_group() -> None:
    (kill,) = kills_of("linux_5.4_machine.txt")
    assert (kill.pid, kill.scope, kill.limit_group) == (2411, "machine", None)
    assert kill.tasks == {812: 300 * PAGE, 2411: 3500000 * PAGE, 2502: 400000 * PAGE}


@pytest.mark.parametrize(
    ("name", "pid", "victim", "scope"),
    [
        ("linux_4.15_cgroup.txt", 7001, "python", "group"),
        ("linux_3.10_machine.txt", 3300, "python (x)", "machine"),
    ],
)
def test_older_kernels_say_whose_memory_a_line_before_the_sizes(
    name: str, pid: int, victim: str, scope: str
) -> None:
    (kill,) = kills_of(name)
    assert (kill.pid, kill.name, kill.scope) == (pid, victim, scope)
    assert kill.resident_bytes is not None
    assert pid in kill.tasks


def test_each_kill_has_its_own_candidates() -> None:
    names = ("linux_6.18_cgroup.txt", "linux_5.4_machine.txt", "linux_4.15_cgroup.txt")
    text = "".join((LOGS / name).read_text() for name in names)
    kills = read_kills([(None, line) for line in text.splitlines()])
    assert [(kill.pid, kill.scope) for kill in kills] == [
        (4179, "group"),
        (2411, "machine"),
        (7001, "group"),
    ]
    assert [len(kill.tasks) for kill in kills] == [2, 3, 1]


def test_of_a_storm_of_kills_the_last_are_kept() -> None:
    line = "Out of memory: Killed process {} (python) total-vm:1kB, anon-rss:1kB"
    kills = read_kills([(None, line.format(pid)) for pid in range(1000)])
    assert len(kills) == MAX_KILLS
    assert kills[-1].pid == 999


def test_words_that_are_none_of_the_oom_killers_are_no_kill() -> None:
    others = [
        "python[77]: segfault at 0 ip 0000 sp 0000 error 4 in libc.so",
        "oom_reaper: reaped process 4179 (python), now anon-rss:0kB",
        "__vm_enough_memory: pid: 1719, comm: python, not enough memory for the allocation",
    ]
    assert read_kills([(None, line) for line in others]) == ()


def denied(command: Sequence[str]) -> tuple[str | None, str]:
    return None, f"{command[0]} may not"


def test_a_user_who_may_read_nothing_is_told_each_reason(tmp_path: Path) -> None:
    found = read_kernel_log(kmsg=tmp_path / "none", run=denied)
    assert found == KernelLog(problem=found.problem)
    assert found.problem is not None
    for part in ("none: No such file", "dmesg: dmesg may not", "journalctl: journalctl may not"):
        assert part in found.problem


def test_stamps_of_dmesg_count_from_the_start_of_the_machine(tmp_path: Path) -> None:
    text = (LOGS / "linux_6.18_cgroup.txt").read_text()

    def run(command: Sequence[str]) -> tuple[str | None, str]:
        assert list(command) == ["dmesg"]
        return text, ""

    found = read_kernel_log(
        kmsg=tmp_path / "none", run=run, now_s=lambda: 100_000.0, uptime_s=lambda: 40_000.0
    )
    assert found.source == "dmesg"
    assert found.kills[0].at_unix_s == pytest.approx(60_000 + 35272.260525)


def test_the_journal_is_asked_from_the_runs_start_on(tmp_path: Path) -> None:
    line = "1767323045.500000 box kernel: Out of memory: Killed process 9 (python) total-vm:1kB"
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> tuple[str | None, str]:
        asked.append(command)
        return (line, "") if command[0] == "journalctl" else (None, "not permitted")

    found = read_kernel_log(1_767_323_000.0, kmsg=tmp_path / "none", run=run)
    assert found.source == "journalctl"
    assert found.kills[0].at_unix_s == 1767323045.5
    assert "@1767323000" in asked[-1]
    assert read_kernel_log(1_767_323_046.0, kmsg=tmp_path / "none", run=run).kills == ()


def test_records_of_the_device_are_read_until_there_are_no_more(tmp_path: Path) -> None:
    """A FIFO stands for the device: one record at a time, then a read that would wait."""
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    keeps_open = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    record = b"6,1,2500000,-;Out of memory: Killed process 9 (python) total-vm:1kB\n SUBSYSTEM=x\n"
    os.write(keeps_open, record)
    try:
        found = read_kernel_log(kmsg=path, run=denied, now_s=lambda: 1000.0, uptime_s=lambda: 100.0)
    finally:
        os.close(keeps_open)
    assert found.source == str(path)
    assert [(kill.pid, kill.at_unix_s) for kill in found.kills] == [(9, 902.5)]


def test_a_command_that_is_missing_or_fails_says_why() -> None:
    assert run_bounded(["no-such-command-here"]) == (None, "not installed")
    text, problem = run_bounded(["sh", "-c", "echo not permitted >&2; exit 1"])
    assert (text, problem) == (None, "not permitted")
    assert run_bounded(["sh", "-c", "true"]) == (None, "it shows nothing")
    assert run_bounded(["sh", "-c", "echo said"]) == ("said\n", "")
