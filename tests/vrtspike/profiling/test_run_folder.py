"""Names of runs, what they may tell, and which of the old ones go."""

import json
import os
import socket
from datetime import UTC, datetime, timedelta, timezone

import pytest

from vrtspike.profiling.redaction import host_label
from vrtspike.profiling.run_folder import (
    RUN_ID,
    new_run_id,
    open_run,
    prune_runs,
)
from vrtspike.profiling.settings import LogConfig

NOW = datetime(2026, 3, 4, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))


def test_a_run_id_tells_the_local_time_and_two_runs_of_a_second_apart():
    assert new_run_id(NOW, b"\xab\x01") == "train_20260304_010203_ab01"
    assert RUN_ID.fullmatch(new_run_id(NOW))


def opened(tmp_path, **options):
    config = {"DATA": {"ROOT": "/data/ann/data", "SPLITS": ["train", "~/x"], "CROP": 64}}
    return open_run(
        "train_20260304_010203_ab01",
        LogConfig(**options),
        now=NOW,
        base=tmp_path,
        config=config,
        argv=["train.py", "--config", "/data/ann/c.yaml"],
        host="ann-pc",
        resumed_from="/data/ann/last.pt",
        total_steps=9,
    )


def test_paths_are_relative_to_the_facts_and_times_are_utc(tmp_path):
    run, paths = opened(tmp_path)
    assert paths.facts_dir == tmp_path / "profiles" / run.run_id
    assert paths.log == tmp_path / "outputs/logs/train_20260304_010203.log"
    assert paths.checkpoint_dir == tmp_path / "outputs/checkpoints" / run.run_id
    assert run.log == "../../outputs/logs/train_20260304_010203.log"
    assert (paths.facts_dir / run.checkpoint_dir).resolve() == paths.checkpoint_dir.resolve()
    assert run.started_at == "2026-03-03T23:02:03.000+00:00"
    assert (run.status, run.pid, run.total_steps, run.host) == ("running", os.getpid(), 9, "ann-pc")
    assert list(tmp_path.iterdir()) == []


def test_a_redacted_run_names_neither_host_nor_person(tmp_path):
    run, _ = opened(tmp_path, redact=True)
    text = json.dumps(vars(run))
    assert "ann" not in text
    assert "/home" not in text
    assert run.redacted
    assert run.config["DATA"] == {"ROOT": "<path>", "SPLITS": ["train", "<path>"], "CROP": 64}
    assert run.host == host_label("ann-pc") != host_label("bob-pc")
    assert run.log == "../../outputs/logs/train_20260304_010203.log"


@pytest.fixture
def add_run(tmp_path):
    def add(day, **meta):
        folder = tmp_path / f"train_202601{day:02d}_000000_0000"
        folder.mkdir()
        body = {
            "started_at": datetime(2026, 1, day, tzinfo=UTC).isoformat(),
            "status": "finished",
            "host": socket.gethostname(),
            **meta,
        }
        (folder / "meta.json").write_text(json.dumps(body))
        return folder

    return add


def test_only_the_oldest_finished_runs_are_deleted(tmp_path, add_run):
    old, newer = add_run(1), add_run(3)
    running = add_run(2, status="running", pid=os.getpid())
    elsewhere = add_run(4, status="running", host="another", pid=1)
    killed = add_run(5, status="running", pid=2**22 - 3)
    current = add_run(6, status="running", pid=os.getpid())
    (tmp_path / "notes").mkdir()
    (tmp_path / "train_20260101_000000_ffff").mkdir()
    (tmp_path / "train_20250101_000000_ffff").symlink_to(old)
    assert prune_runs(tmp_path, 2, current.name) == [newer, old]
    kept = {killed, running, elsewhere, current, tmp_path / "notes"}
    assert kept <= set(tmp_path.iterdir())
    assert not old.exists()
    assert prune_runs(tmp_path, 1, killed.name) == []
    assert prune_runs(tmp_path, 1, current.name) == [killed]
    assert prune_runs(tmp_path / "missing", 1, "x") == []
