"""What a machine still tells about a run: both versions of control groups, by recorded files."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from diagnostics.aftermath import MemoryCounters
from diagnostics.parsers.kernel_log import KernelLog
from diagnostics.parsers.run_aftermath import AftermathSources, read_aftermath
from diagnostics.run import RunInfo

GIB = 1 << 30
STARTED_S = 1_767_323_045.0
INFO = RunInfo(status="running", host="here", pid=77, started_at="2026-01-02T03:04:05+00:00")
RECORDED = MemoryCounters(
    at_unix_s=STARTED_S,
    moment="start",
    boot_id="1b2c",
    cgroup_version=1,
    cgroup_path="/job",
    limit_path="/job",
)
COMMON = {
    "proc/sys/kernel/random/boot_id": "1b2c\n",
    "proc/vmstat": "nr_free_pages 5\noom_kill 3\n",
    "proc/stat": "cpu 1 2\nbtime 1767300000\n",
}
V1 = {
    "sys/fs/cgroup/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{GIB}\n",
    "sys/fs/cgroup/memory/job/memory.failcnt": "5015\n",
    "sys/fs/cgroup/memory/job/memory.max_usage_in_bytes": f"{GIB}\n",
}
V2 = {
    "sys/fs/cgroup/job/memory.events": "high 0\nmax 40\noom 2\noom_kill 2\noom_group_kill 0\n",
    "sys/fs/cgroup/job/memory.events.local": "low 0\nhigh 0\nmax 38\noom 2\noom_kill 2\n",
    "sys/fs/cgroup/job/memory.max": f"{GIB}\n",
    "sys/fs/cgroup/job/memory.peak": f"{GIB}\n",
}

Look = Callable[..., "object"]


@pytest.fixture
def look(tmp_path: Path):
    def make(
        files: Mapping[str, str],
        info: RunInfo = INFO,
        recorded: MemoryCounters | None = RECORDED,
        alive_since_s: float | None = None,
    ):
        for name, text in {**COMMON, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if recorded is not None and recorded.cgroup_path == "/job":
            group = "memory/job" if recorded.cgroup_version == 1 else "job"
            folder = tmp_path / "sys/fs/cgroup" / group
            number = folder.stat().st_ino if folder.exists() else 5
            recorded = replace(recorded, cgroup_id=recorded.cgroup_id or number)
        sources = AftermathSources(
            root=tmp_path,
            host=lambda: "here",
            now_s=lambda: STARTED_S + 100,
            process_start_s=lambda pid: alive_since_s,
            kernel_log=lambda since: KernelLog(problem=f"since {since:.0f}: denied"),
        )
        return read_aftermath(info, recorded, sources)

    return make


def test_version_1_tells_kills_limit_and_peak(look) -> None:
    found = look(V1)
    assert found.is_alive is False
    assert found.unknown == ()
    counters = found.counters
    assert (counters.oom_kills, counters.cgroup_oom_kills) == (3, 1)
    assert (counters.limit_bytes, counters.limit_hits, counters.peak_bytes) == (GIB, 5015, GIB)
    assert counters.limit_ooms is None  # version 1 does not count them
    assert found.log_problem == f"since {STARTED_S - 2:.0f}: denied"


def test_version_2_tells_them_in_its_own_files(look) -> None:
    counters = look(V2, recorded=replace(RECORDED, cgroup_version=2)).counters
    assert (counters.cgroup_oom_kills, counters.limit_hits, counters.limit_ooms) == (2, 38, 2)
    assert (counters.limit_bytes, counters.peak_bytes) == (GIB, GIB)


def test_a_group_of_the_same_name_that_came_later_is_another_one(look) -> None:
    found = look(V1, recorded=replace(RECORDED, cgroup_id=1))
    assert found.counters.cgroup_oom_kills is None
    assert found.counters.oom_kills == 3
    assert found.unknown == ("its control group /job is gone",)


def test_a_group_that_is_gone_leaves_the_machines_count(look) -> None:
    found = look({})
    assert found.counters.cgroup_oom_kills is None
    assert found.counters.oom_kills == 3
    assert "/job is gone" in found.unknown[0]


@pytest.mark.parametrize("path", ["<path>", None, "/../../etc"])
def test_no_path_leads_out_of_the_control_groups(look, path: str | None) -> None:
    found = look(V1, recorded=replace(RECORDED, cgroup_path=path))
    assert found.counters.cgroup_oom_kills is None
    assert len(found.unknown) == 1


def test_a_machine_that_was_restarted_has_forgotten(look) -> None:
    found = look({**V1, "proc/sys/kernel/random/boot_id": "ffff\n"})
    assert found.is_alive is False
    assert found.counters is None
    assert "restarted" in found.unknown[0]
    old = look({**V1, "proc/stat": f"btime {STARTED_S + 50:.0f}\n"}, recorded=None)
    assert "restarted" in old.unknown[0]


def test_a_run_that_still_runs_has_no_aftermath(look) -> None:
    found = look(V1, alive_since_s=STARTED_S - 1)
    assert found.is_alive is True
    assert found.counters is None
    reused = look(V1, alive_since_s=STARTED_S + 60)
    assert reused.is_alive is False


def test_another_machine_cannot_be_asked(look) -> None:
    found = look(V1, info=replace(INFO, host="there"))
    assert found.is_alive is None
    assert found.counters is None
    assert "another machine (there)" in found.unknown[0]


@pytest.mark.parametrize("change", [{"status": "finished"}, {"status": None}, {"host": None}])
def test_nobody_looks_after_a_run_that_ended_well(look, change: Mapping[str, None]) -> None:
    assert look(V1, info=replace(INFO, **change)) is None
