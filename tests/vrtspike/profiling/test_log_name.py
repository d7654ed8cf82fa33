"""Every run has a log of its own."""

import os
from datetime import UTC, datetime
from pathlib import Path

from vrtspike.profiling.log_name import claim_log
from vrtspike.profiling.run_folder import new_run_id, open_run
from vrtspike.profiling.settings import LogConfig

NOW = datetime(2026, 3, 4, 1, 2, 3, tzinfo=UTC)


def begin(folder, tail):
    run_id = new_run_id(NOW, tail)
    return claim_log(*open_run(run_id, LogConfig(), now=NOW, base=folder, config={}))


def test_runs_of_one_second_have_logs_of_their_own(tmp_path):
    first, second, third = (begin(tmp_path, tail) for tail in (b"\0\1", b"\0\2", b"\0\3"))
    names = ["20260304_010203", "20260304_010203_0002", "20260304_010203_0003"]
    for (run, paths), name in zip((first, second, third), names, strict=True):
        assert paths.log == tmp_path / f"outputs/logs/train_{name}.log"
        assert run.log == f"../../outputs/logs/train_{name}.log"
    assert first[1].log.read_text() == ""


def test_who_makes_the_file_first_has_it(tmp_path, monkeypatch):
    """Another run makes it between any look and our making."""
    real, raced = os.open, []

    def late(path, flags, *rest):
        if not raced:
            raced.append(path)
            Path(path).write_text("another run's")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", late)
    _, paths = begin(tmp_path, b"\0\1")
    assert paths.log.name == "train_20260304_010203_0001.log"
    assert raced[0].read_text() == "another run's"


def test_a_device_stays_the_log_and_a_folder_that_cannot_be_is_left_to_the_log(tmp_path):
    logs = tmp_path / "outputs/logs"
    logs.mkdir(parents=True)
    (logs / "train_20260304_010203.log").symlink_to("/dev/full")
    assert begin(tmp_path, b"\0\1")[1].log.name == "train_20260304_010203.log"
    (tmp_path / "b").mkdir()
    (tmp_path / "b/outputs").write_text("a file")
    assert begin(tmp_path / "b", b"\0\1")[1].log.name == "train_20260304_010203.log"
