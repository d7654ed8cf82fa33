"""Processes from an invented /proc, and which of them make up a training job."""

import os
from pathlib import Path

import pytest

from diagnostics import memory_diagnosis
from diagnostics.analyses.machine_jobs import build_job, find_job_roots, is_trainer, tree
from diagnostics.machine import ProcessState
from diagnostics.parsers.machine import HostSources
from diagnostics.parsers.machine_processes import ProcessEntry, list_processes, read_processes

KIB = 1024
TRAIN = ("/usr/bin/python3", "-m", "vrtspike.train", "--config", "c.yaml")


def add(
    root: Path,
    pid: int,
    parent: int,
    command: tuple[str, ...],
    name: str = "python",
    pss_kib: int | None = 800,
    environ: str = "",
) -> None:
    folder = root / "proc" / str(pid)
    folder.mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
    (folder / "cmdline").write_text("".join(f"{word}\0" for word in command))
    (folder / "environ").write_text(environ)
    (folder / "status").write_text(
        f"Name:\t{name}\nVmRSS:\t 1000 kB\nRssFile:\t 300 kB\nRssShmem:\t 100 kB\nVmSwap:\t 8 kB\n"
    )
    if pss_kib is not None:
        (folder / "smaps_rollup").write_text(
            f"55-7f ---p 0 00:00 0 [rollup]\nRss: 1000 kB\nPss: {pss_kib} kB\n"
            f"Private_Clean: 100 kB\nPrivate_Dirty: 200 kB\n"
        )


def states(root: Path) -> dict[int, ProcessState]:
    return {state.pid: state for state in read_processes(list_processes(root), root)}


def test_memory_of_a_process_in_bytes(tmp_path: Path) -> None:
    add(tmp_path, 7, 1, TRAIN, environ="A=b\0RANK=3\0")
    state = states(tmp_path)[7]
    assert state.rss_bytes == 1000 * KIB
    assert state.shared_bytes == 400 * KIB
    assert state.pss_bytes == 800 * KIB
    assert state.uss_bytes == 300 * KIB
    assert state.swap_bytes == 8 * KIB
    assert (state.rank, state.parent_pid, state.command) == (3, 1, TRAIN)


def test_a_refused_pss_is_none_with_its_reason(tmp_path: Path) -> None:
    add(tmp_path, 7, 1, TRAIN, pss_kib=None)
    state = states(tmp_path)[7]
    assert (state.pss_bytes, state.uss_bytes, state.rss_bytes) == (None, None, 1000 * KIB)
    assert "not readable" in state.unknown["pss_bytes"]


def test_a_name_may_hold_anything(tmp_path: Path) -> None:
    add(tmp_path, 7, 42, TRAIN, name="a) S 9 (b")
    assert list_processes(tmp_path)[0].name == "a) S 9 (b"
    assert list_processes(tmp_path)[0].parent_pid == 42


def test_a_process_that_ends_meanwhile_is_left_out(tmp_path: Path) -> None:
    add(tmp_path, 7, 1, TRAIN)
    entries = list_processes(tmp_path)
    (tmp_path / "proc/7/status").unlink()
    assert read_processes(entries, tmp_path) == ()


def test_a_machine_without_proc_lists_nothing(tmp_path: Path) -> None:
    assert list_processes(tmp_path) == ()


def test_this_very_process_is_found() -> None:
    own = [entry for entry in list_processes() if entry.pid == os.getpid()]
    state = read_processes(own)[0]
    assert state.rss_bytes is not None
    assert state.rss_bytes > 1 << 20


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (TRAIN, True),
        (("python3.11", "/opt/a/vrtspike/train.py"), True),
        (("/opt/bin/torchrun", "--nproc_per_node=2", "-m", "vrtspike.train"), True),
        (("grep", "vrtspike.train"), False),
        (("vim", "vrtspike/train.py"), False),
        (("bash", "-c", "python -m vrtspike.train"), False),
        (("python", "-m", "vrtspike.train_other"), False),
        ((), False),
    ],
)
def test_what_counts_as_a_trainer(command: tuple[str, ...], expected: bool) -> None:
    assert is_trainer(command) is expected


def ddp_job(root: Path) -> None:
    launcher = ("/usr/bin/python3", "/usr/bin/torchrun", "--nproc_per_node=2", *TRAIN[1:])
    add(root, 10, 1, launcher, name="torchrun", pss_kib=50)
    for rank, pid in enumerate((11, 12)):
        add(root, pid, 10, TRAIN, pss_kib=700 + rank, environ=f"RANK={rank}\0")
    add(root, 13, 11, TRAIN, name="pt_data_worker", pss_kib=300)
    add(root, 14, 11, ("python3", "-m", "vrtspike.profiling.resource_sampler"), pss_kib=40)
    add(root, 15, 11, ("python3", "-c", "from multiprocessing.resource_tracker"), pss_kib=10)
    add(root, 99, 1, ("python3", "-m", "http.server"), pss_kib=900)


def test_a_job_holds_launcher_ranks_workers_and_sampler(tmp_path: Path) -> None:
    ddp_job(tmp_path)
    entries = list_processes(tmp_path)
    assert find_job_roots(entries) == (10,)
    inside = tree(10, entries)
    assert inside == (10, 11, 12, 13, 14, 15)
    job = build_job(10, [s for s in states(tmp_path).values() if s.pid in inside])
    roles = [(member.process.pid, member.role) for member in job.members]
    assert roles == [
        (12, "main"),
        (11, "main"),
        (13, "worker"),
        (10, "launcher"),
        (14, "sampler"),
        (15, "other"),
    ]
    assert job.memory_bytes == (50 + 700 + 701 + 300 + 40 + 10) * KIB
    assert not job.is_upper_bound


def test_rss_stands_in_for_a_refused_pss(tmp_path: Path) -> None:
    add(tmp_path, 5, 1, TRAIN, pss_kib=None)
    add(tmp_path, 6, 5, TRAIN, name="pt_data_worker", pss_kib=100)
    job = build_job(5, states(tmp_path).values())
    assert job.memory_bytes == (1000 + 100) * KIB
    assert job.is_upper_bound


def test_two_jobs_are_two(tmp_path: Path) -> None:
    add(tmp_path, 5, 1, TRAIN)
    add(tmp_path, 6, 5, TRAIN, name="pt_data_worker")
    add(tmp_path, 8, 2, TRAIN)
    assert find_job_roots(list_processes(tmp_path)) == (5, 8)


def test_a_tree_with_a_loop_ends(tmp_path: Path) -> None:
    add(tmp_path, 5, 6, TRAIN)
    add(tmp_path, 6, 5, TRAIN)
    assert tree(5, list_processes(tmp_path)) == (5, 6)


def test_a_zombie_holds_no_memory_that_could_be_refused(tmp_path: Path) -> None:
    add(tmp_path, 7, 1, TRAIN, pss_kib=None)
    (tmp_path / "proc/7/status").write_text("Name:\tpython\nState:\tZ (zombie)\n")
    assert states(tmp_path) == {}


def test_a_job_that_ends_while_it_is_read_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ProcessEntry(
        pid=7, parent_pid=1, name="python", command=("python", "-m", "vrtspike.train")
    )
    monkeypatch.setattr(memory_diagnosis, "list_processes", lambda root: (gone,))
    assert memory_diagnosis.view_machine(sources=HostSources(root=tmp_path)).jobs == ()
