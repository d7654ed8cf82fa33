"""A loop that is not ours is known by its run: by meta.json and a process that fits it."""

import json
from pathlib import Path

from diagnostics.analyses.machine_jobs import find_job_roots
from diagnostics.parsers.machine_processes import ProcessEntry
from diagnostics.parsers.running_runs import running_pids

STARTED = "2026-01-02T03:04:05.000+00:00"
STARTED_S = 1_767_323_045.0


def add_run(profiles: Path, number: int, **fields: object) -> None:
    folder = profiles / f"train_20260102_030405_{number:04x}"
    folder.mkdir(parents=True)
    meta = {"run_id": folder.name, "started_at": STARTED, "status": "running", "host": "here"}
    (folder / "meta.json").write_text(json.dumps({"schema": 1, **meta, **fields}), "utf-8")


def began(pid: int) -> float | None:
    """Process 12 began after the run that names it; 13 is gone."""
    return {12: STARTED_S + 60, 13: None}.get(pid, STARTED_S - 5)


def test_only_a_live_process_of_a_running_run_counts(tmp_path: Path) -> None:
    add_run(tmp_path, 1, pid=11)
    add_run(tmp_path, 2, pid=12)
    add_run(tmp_path, 3, pid=13)
    add_run(tmp_path, 4, pid=14, status="finished")
    add_run(tmp_path, 5, pid=15, host="elsewhere")
    add_run(tmp_path, 6, pid=16, host="host-8ea0f11c")
    add_run(tmp_path, 7, pid=17, started_at="yesterday")
    add_run(tmp_path, 8)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "meta.json").write_text("{")
    found = running_pids(tmp_path, host="here", started_s=began)
    assert found == {11}
    import hashlib

    label = f"host-{hashlib.sha256(b'here').hexdigest()[:8]}"
    add_run(tmp_path, 9, pid=19, host=label)
    assert running_pids(tmp_path, host="here", started_s=began) == {11, 19}


def test_no_folder_of_runs_is_no_run(tmp_path: Path) -> None:
    assert running_pids(tmp_path / "none") == frozenset()


def entry(pid: int, parent: int, *command: str) -> ProcessEntry:
    return ProcessEntry(pid=pid, parent_pid=parent, name="python", command=command)


def test_what_started_a_recorded_process_for_the_run_is_its_root() -> None:
    shell = entry(1, 0, "bash")
    alone = entry(10, 1, "python", "mine.py")
    worker = entry(11, 10, "python", "mine.py")
    launcher = entry(20, 1, "python", "torchrun", "ddp.py")
    rank = entry(21, 20, "python", "ddp.py")
    spawner = entry(30, 1, "python", "spawns.py")
    spawned = entry(31, 30, "python", "-c", "from multiprocessing.spawn import spawn_main; ...")
    other = entry(40, 1, "python", "notebook")
    everyone = [shell, alone, worker, launcher, rank, spawner, spawned, other]
    assert find_job_roots(everyone) == ()
    assert find_job_roots(everyone, {10, 21, 31, 99}) == (10, 20, 30)
    assert find_job_roots(everyone, {11}) == (10,)
