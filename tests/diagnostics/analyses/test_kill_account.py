"""Who ended a run: the kernel for a group's limit, for the machine's, or somebody else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from diagnostics import machine_tables
from diagnostics import tables as declared
from diagnostics.aftermath import Aftermath, KernelKill, MemoryCounters
from diagnostics.analyses.kill_account import compute_kill_account
from diagnostics.analyses.last_processes import last_processes
from diagnostics.report.build import build_report
from diagnostics.report.kill_words import describe_kill, kill_details, status_of
from diagnostics.run import Run, RunInfo
from tests.diagnostics.factories import run_of

GIB = 1 << 30
T0 = 1_767_323_045.0
MAIN, WORKER = 77, 78
INFO = RunInfo(status="running", host="here", pid=MAIN)


def counted(at_s: float, moment: str, **values: Any) -> tuple[Any, ...]:
    body = {"moment": moment, "boot_id": "1b2c", "cgroup_version": 1, "cgroup_path": "/job"}
    line = f"resources.here.jsonl:{int(at_s) + 1}"
    return (0, "memory_counters", None, T0 + at_s, {**body, **values}, line)


def limited(hits: int, peak: int, ooms: int | None = None) -> dict[str, Any]:
    return {
        "limit_path": "/job",
        "limit_bytes": 2 * GIB,
        "limit_hits": hits,
        "limit_ooms": ooms,
        "peak_bytes": peak,
    }


def samples(sizes: Mapping[int, Sequence[int]]) -> dict[str, Any]:
    """One sample a second; sizes in GiB by process."""
    rows = [
        ("here", T0 + second, pid, "main" if pid == MAIN else "worker", "python", size * GIB)
        for pid, held in sizes.items()
        for second, size in enumerate(held)
    ]
    filled = [
        (*row, *[None] * (len(machine_tables.PROCESSES.column_names) - len(row))) for row in rows
    ]
    return {"processes": machine_tables.PROCESSES.from_rows(filled)}


def host_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = machine_tables.HOST.column_names
    base = {"host": "here", "ram_total_bytes": 64 * GIB, "ram_available_bytes": 60 * GIB}
    base |= {"ram_percent": 6.0}
    return {
        "host": machine_tables.HOST.from_rows(
            [tuple({**base, **row}.get(name) for name in names) for row in rows]
        )
    }


def run_with(
    *events: tuple[Any, ...], info: RunInfo = INFO, after: Aftermath | None = None, **tables: Any
) -> Run:
    made = run_of(info=info, events=declared.EVENTS.from_rows(list(events)), **tables)
    return replace(made, aftermath=after)


START = counted(0, "start", oom_kills=1, cgroup_oom_kills=0, **limited(3, GIB))


def test_a_group_that_met_its_limit_killed_its_own() -> None:
    end = counted(9, "trainer_gone", oom_kills=2, cgroup_oom_kills=1, **limited(90, 2 * GIB))
    account = compute_kill_account(run_with(START, end, **samples({MAIN: [1, 2], WORKER: [1, 1]})))
    assert account is not None
    assert (account.killer, account.victim, account.memory) == ("oom_killer", "trainer", "group")
    assert (account.count, account.elsewhere) == (1, 0)
    assert (account.after_unix_s, account.before_unix_s) == (T0 + 1, T0 + 9)
    assert account.last is not None
    assert account.last.most_grown is not None
    assert [each.pid for each in account.last.processes] == [MAIN, WORKER]
    assert (account.last.most_grown.pid, account.last.most_grown.grown_bytes) == (MAIN, GIB)
    said = describe_kill(account)
    assert said.startswith("The kernel's OOM killer ended the trainer at 2026-01-02 03:04:06 UTC")
    assert said.endswith("the limit of its control group was used up.")
    told = " ".join(kill_details(account))
    for part in ("control group 0 -> 1", "(cgroup v1): limit 2.00 GiB", "main 77 by 1.00 GiB"):
        assert part in told


def test_a_group_below_its_limit_died_for_the_machine() -> None:
    """The count of victims is of the group they were in, whoever's memory had run out."""
    end = counted(9, "trainer_gone", oom_kills=2, cgroup_oom_kills=1, **limited(3, GIB))
    account = compute_kill_account(run_with(START, end))
    assert account is not None
    assert account.memory == "machine"
    far = counted(9, "trainer_gone", oom_kills=2, cgroup_oom_kills=1, **limited(90, int(1.5 * GIB)))
    account = compute_kill_account(run_with(START, far))
    assert account is not None
    assert account.memory == "machine"


def test_version_2_says_itself_whether_nothing_was_left() -> None:
    start = counted(0, "start", cgroup_oom_kills=0, **limited(5, 2 * GIB, 0))
    group = counted(9, "trainer_gone", cgroup_oom_kills=2, **limited(9, 2 * GIB, 2))
    machine = counted(9, "trainer_gone", cgroup_oom_kills=1, **limited(9, 2 * GIB, 0))
    accounts = [compute_kill_account(run_with(start, end)) for end in (group, machine)]
    assert [each.memory for each in accounts if each] == ["group", "machine"]


def test_a_person_with_kill_9_raises_no_counter() -> None:
    end = counted(9, "trainer_gone", oom_kills=1, cgroup_oom_kills=0, **limited(3, GIB))
    account = compute_kill_account(run_with(START, end))
    assert account is not None
    assert account.killer == "not_oom_killer"
    assert "not the kernel's OOM killer" in describe_kill(account)


def test_victims_outside_the_group_are_not_the_run() -> None:
    end = counted(9, "trainer_gone", oom_kills=5, cgroup_oom_kills=0, **limited(3, GIB))
    account = compute_kill_account(run_with(START, end))
    assert account is not None
    assert (account.killer, account.elsewhere) == ("not_oom_killer", 4)
    assert any("4 of those killed" in each for each in kill_details(account))


def test_without_control_groups_a_kill_on_the_machine_is_only_a_sign() -> None:
    start = counted(0, "start", oom_kills=1, cgroup_version=None, cgroup_path=None)
    end = counted(9, "trainer_gone", oom_kills=2, cgroup_version=None, cgroup_path=None)
    account = compute_kill_account(run_with(start, end))
    assert account is not None
    assert account.killer == "perhaps_oom_killer"
    assert account.memory is None


def killed(**changes: Any) -> KernelKill:
    body = {"at_unix_s": T0 + 8.5, "pid": MAIN, "name": "python", "scope": "machine"}
    return KernelKill(**{**body, **changes})


def after(**changes: Any) -> Aftermath:
    return Aftermath(**{"read_at_unix_s": T0 + 60, "is_alive": False, **changes})


def test_the_kernels_own_word_beats_every_count() -> None:
    kill = killed(resident_bytes=GIB, tasks={MAIN: GIB, 5: 2 * GIB})
    account = compute_kill_account(run_with(START, after=after(kills=(kill,))))
    assert account is not None
    assert (account.killer, account.memory, account.at_unix_s) == (
        "oom_killer",
        "machine",
        T0 + 8.5,
    )
    told = " ".join(kill_details(account))
    assert "the largest of 2 it listed was process 5 with 2.00 GiB" in told
    assert "at 2026-01-02 03:04:13 UTC" in describe_kill(account)


@pytest.mark.parametrize("change", [{"pid": 4}, {"at_unix_s": T0 - 60}])
def test_a_kill_of_another_process_or_time_is_not_this_runs(change: Mapping[str, Any]) -> None:
    account = compute_kill_account(run_with(START, after=after(kills=(killed(**change),))))
    assert account is not None
    assert account.kills == ()
    assert account.killer == "unknown"


def test_counters_read_now_close_the_gap_that_a_killed_sampler_left() -> None:
    now = MemoryCounters(
        at_unix_s=T0 + 60, moment="now", oom_kills=2, cgroup_oom_kills=1, **limited(9, 2 * GIB)
    )
    account = compute_kill_account(run_with(START, after=after(counters=now)))
    assert account is not None
    assert (account.killer, account.memory) == ("oom_killer", "group")
    unknown = compute_kill_account(run_with(START, after=after(unknown=("the group is gone",))))
    assert unknown is not None
    assert unknown.killer == "unknown"
    assert unknown.reasons[0] == "the group is gone"
    assert "sampler" in unknown.reasons[1]


def test_what_was_killed_long_after_the_run_is_not_counted() -> None:
    end = counted(9, "trainer_gone", oom_kills=2, cgroup_oom_kills=1, **limited(90, 2 * GIB))
    now = MemoryCounters(at_unix_s=T0 + 9000, moment="now", oom_kills=40, cgroup_oom_kills=1)
    account = compute_kill_account(run_with(START, end, after=after(counters=now)))
    assert account is not None
    assert (account.count, account.elsewhere) == (1, 0)


def test_a_machine_that_was_full_is_a_sign_where_no_counter_is() -> None:
    rows = [{"at_unix_s": T0 + 1, "cgroup_limit_bytes": GIB, "cgroup_used_bytes": 0.99 * GIB}]
    made = run_with(after=after(), **host_rows(rows), **samples({MAIN: [1, 1]}))
    account = compute_kill_account(made)
    assert account is not None
    assert account.killer == "perhaps_oom_killer"
    rows = [{**rows[0], "cgroup_used_bytes": 0.5 * GIB}]
    account = compute_kill_account(
        run_with(after=after(), **host_rows(rows), **samples({MAIN: [1]}))
    )
    assert account is not None
    assert account.killer == "unknown"


def test_a_run_whose_machine_was_not_sampled_has_the_kernels_log_alone() -> None:
    account = compute_kill_account(run_with(after=after(kills=(killed(scope="group"),))))
    assert account is not None
    assert (account.killer, account.victim, account.memory) == ("oom_killer", "trainer", "group")
    account = compute_kill_account(run_with(after=after()))
    assert account is not None
    assert (account.killer, account.victim) == ("unknown", "trainer")


def test_a_loader_that_died_is_told_by_the_samples_of_the_machine() -> None:
    """Facts of before these events: the counters stand in the samples."""
    rows = [
        {"at_unix_s": T0 + at, "oom_kills": 7 + (at > 2), "cgroup_oom_kills": int(at > 2)}
        for at in range(5)
    ]
    rows = [{**row, "cgroup_version": 2} for row in rows]
    died = (0, "loading_process_died", 3, T0 + 3, {"signal": "Killed"}, "spans.rank0.jsonl:3")
    ended = replace(INFO, status="failed")
    sizes = samples({MAIN: [1, 1, 1, 1], WORKER: [1, 2, 3]})
    account = compute_kill_account(run_with(died, info=ended, **host_rows(rows), **sizes))
    assert account is not None
    assert (account.killer, account.victim, account.count) == ("oom_killer", "loader", 1)
    assert (account.after_unix_s, account.before_unix_s) == (T0 + 2, T0 + 3)
    spared = [{**row, "oom_kills": 7, "cgroup_oom_kills": 0} for row in rows]
    end = counted(5, "end", oom_kills=7, cgroup_oom_kills=0)
    account = compute_kill_account(run_with(died, end, info=ended, **host_rows(spared)))
    assert account is not None
    assert (account.killer, account.victim) == ("not_oom_killer", "loader")


def test_a_rank_that_was_killed_is_told_by_the_others() -> None:
    lost = (1, "rank_lost", 3, T0 + 3, {"reason": "rank 0 died"}, "spans.rank1.jsonl:3")
    end = counted(5, "end", oom_kills=2, cgroup_oom_kills=1, **limited(90, 2 * GIB))
    account = compute_kill_account(run_with(START, lost, end, info=replace(INFO, status="failed")))
    assert account is not None
    assert (account.killer, account.victim) == ("oom_killer", "trainer")


def test_a_run_that_ended_by_itself_or_still_runs_has_no_account() -> None:
    end = counted(9, "end", oom_kills=1, cgroup_oom_kills=0)
    finished = replace(INFO, status="finished")
    assert compute_kill_account(run_with(START, end, info=finished)) is None
    assert compute_kill_account(run_with(START)) is None
    assert compute_kill_account(run_with(START, after=after(is_alive=True))) is None


def test_a_counter_that_fell_has_begun_anew_and_tells_nothing() -> None:
    end = counted(9, "trainer_gone", oom_kills=0, cgroup_oom_kills=0)
    start = counted(0, "start", oom_kills=9, cgroup_oom_kills=2)
    account = compute_kill_account(run_with(start, end))
    assert account is not None
    assert account.killer == "unknown"


def test_who_grew_is_told_over_the_last_minute_and_the_sampler_is_nobody() -> None:
    made = run_with(**samples({MAIN: list(range(1, 100)), WORKER: [50]}))
    found = last_processes(made, "here")
    assert found is not None
    assert [each.pid for each in found.processes] == [MAIN]  # the worker had gone before
    assert found.most_grown is not None
    assert (found.most_grown.grown_bytes, found.most_grown.over_s) == (60 * GIB, 60.0)
    early = last_processes(made, "here", T0)
    assert early is not None
    assert early.most_grown is None
    assert last_processes(made, "elsewhere") is None


@pytest.mark.parametrize(
    ("group", "used", "limit"),
    [
        ({}, 60 * GIB, 64 * GIB),
        ({"cgroup_limit_bytes": 8 * GIB, "cgroup_used_bytes": 7 * GIB}, 7 * GIB, 8 * GIB),
    ],
)
def test_what_was_left_is_the_groups_where_it_has_a_limit_else_the_machines(
    group: Mapping[str, Any], used: int, limit: int
) -> None:
    rows = [
        {"at_unix_s": T0, "ram_available_bytes": 30 * GIB, **group},
        {"at_unix_s": T0 + 1, "ram_available_bytes": 4 * GIB, **group},
        {"at_unix_s": T0 + 9, "ram_available_bytes": 50 * GIB},
    ]
    found = last_processes(run_of(**samples({MAIN: [1, 2]}), **host_rows(rows)), "here")
    assert found is not None
    assert (found.used_bytes, found.limit_bytes) == (used, limit)


def test_a_process_that_gives_back_while_it_dies_is_told_as_it_was() -> None:
    made = run_with(**samples({MAIN: [1, 4, 9, 3, 0], WORKER: [1, 1, 1, 1, 1]}))
    found = last_processes(made, "here")
    assert found is not None
    assert found.at_unix_s == T0 + 2
    assert [each.size_bytes // GIB for each in found.processes] == [9, 1]
    assert found.most_grown is not None
    assert found.most_grown.grown_bytes == 8 * GIB


def test_what_was_killed_is_not_called_running() -> None:
    """meta.json says "running" for ever when nobody could write the end."""
    end = counted(9, "trainer_gone", oom_kills=2, cgroup_oom_kills=1, **limited(90, 2 * GIB))
    killed = run_with(START, end, **samples({MAIN: [1, 2]}))
    assert status_of(build_report(killed)) == "killed by the kernel's OOM killer"
    person = counted(9, "trainer_gone", oom_kills=1, cgroup_oom_kills=0, **limited(3, GIB))
    assert status_of(build_report(run_with(START, person))) == "ended without a word"


def test_a_trainer_that_went_with_its_loading_process_is_not_called_running() -> None:
    kill = KernelKill(pid=WORKER, name="python", at_unix_s=T0 + 5, scope="group")
    gone = Aftermath(read_at_unix_s=T0 + 99, is_alive=False, kills=(kill,))
    run = run_with(START, after=gone, **samples({MAIN: [1], WORKER: [1]}))
    account = compute_kill_account(run)
    assert account is not None
    assert (account.victim, account.is_gone) == ("loader", True)
    assert status_of(build_report(run)) == "ended without a word"


def test_a_trainer_that_nobody_saw_go_may_run_on() -> None:
    later = counted(9, "alarm", oom_kills=2, cgroup_oom_kills=1, **limited(90, 2 * GIB))
    run = run_with(START, later, **samples({MAIN: [1]}))
    assert compute_kill_account(run) is not None
    assert status_of(build_report(run)) == "no end recorded (killed, or still running)"
