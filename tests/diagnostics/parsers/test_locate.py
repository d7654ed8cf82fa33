"""Which run is the newest, and what a path in a file may lead to."""

import errno
import os
from pathlib import Path

import pytest

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers.detect import detect
from diagnostics.parsers.facts import read_meta
from diagnostics.parsers.locate import facts_of_log, log_of_facts, newest_run
from tests.diagnostics.factories import RUN_ID, log_lines, make_run, write_facts, write_lines

DENIED = os.strerror(errno.EACCES)


def write_run(profiles, name, started_at):
    return write_facts(profiles / name, make_run(2, run_id=name, started_at=started_at))


def test_newest_is_by_start_and_not_by_name_or_file_time(tmp_path):
    newest = write_run(tmp_path, "a", "2026-03-01T00:00:00+00:00")
    write_run(tmp_path, "z", "2026-02-01T00:00:00+00:00")
    (tmp_path / "no_run").mkdir()
    (tmp_path / "file").write_text("x")
    found = newest_run(tmp_path)
    assert (found.folder, found.notes) == (newest, ())


def test_time_zones_count(tmp_path):
    write_run(tmp_path, "later_by_text", "2026-03-01T05:00:00+08:00")
    newest = write_run(tmp_path, "later_in_truth", "2026-03-01T00:00:00+00:00")
    assert newest_run(tmp_path).folder == newest


def test_a_damaged_meta_is_oldest_and_said(tmp_path):
    (write_run(tmp_path, "z", "2026-03-01T00:00:00+00:00") / "meta.json").write_text("{")
    write_run(tmp_path, "y", "yesterday")
    newest = write_run(tmp_path, "a", "2020-03-01T00:00:00")
    found = newest_run(tmp_path)
    assert found.folder == newest
    (note,) = found.notes
    assert note.startswith("beside this run, not known to be older: ")
    assert note.endswith("y/meta.json is damaged: it gives no time in started_at (and 1 more)")


def test_runs_without_a_start_are_told_apart_by_name(tmp_path):
    for name in ("a", "b"):
        newest = write_run(tmp_path, name, "yesterday")
    found = newest_run(tmp_path)
    assert found.folder == newest
    assert [note.count("b/meta.json") for note in found.notes] == [0]


@pytest.fixture
def lock(monkeypatch):
    """Makes folders that cannot be listed; rights alone do not stop the superuser."""
    locked = set()
    real = Path.iterdir

    def iterdir(path):
        if path in locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    return locked.add


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path, lock):
    lock(write_run(tmp_path, "a", "2026-04-01T00:00:00+00:00"))
    newest = write_run(tmp_path, "b", "2026-03-01T00:00:00+00:00")
    found = newest_run(tmp_path)
    assert found.folder == newest
    assert found.notes == (f"beside this run, skipped: cannot read {tmp_path}/a: {DENIED}",)
    assert detect(tmp_path) == "folder of runs"


def test_what_cannot_even_be_looked_at_hides_no_run(tmp_path, monkeypatch):
    newest = write_run(tmp_path, "b", "2026-03-01T00:00:00+00:00")
    (tmp_path / "a").symlink_to("nowhere")
    real = Path.is_dir

    def is_dir(path):
        if path.name == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    found = newest_run(tmp_path)
    assert found.folder == newest
    assert found.notes == (f"beside this run, skipped: cannot read {tmp_path}/a: {DENIED}",)


def test_no_run_that_can_be_read_is_one_clear_line(tmp_path, lock):
    for name in ("a", "b"):
        lock(write_run(tmp_path, name, "2026-04-01T00:00:00+00:00"))
    reason = f"cannot read {tmp_path}/a: {DENIED}"
    with pytest.raises(DiagnosticsError, match="holds no run that can be read") as raised:
        newest_run(tmp_path)
    assert f"{reason} (and 1 more)" in str(raised.value)
    with pytest.raises(DiagnosticsError, match="holds no run that can be read") as raised:
        detect(tmp_path)
    assert reason in str(raised.value)


def test_no_run_is_one_clear_line(tmp_path):
    with pytest.raises(DiagnosticsError, match="holds no run: train first"):
        newest_run(tmp_path)
    with pytest.raises(DiagnosticsError, match=r"cannot read .*give the path"):
        newest_run(tmp_path / "gone")


def test_log_and_facts_find_each_other(tmp_path):
    run = make_run(2, meta={"log": "../../logs/a.log"})
    folder = write_facts(tmp_path / "profiles" / RUN_ID, run)
    log = write_lines(tmp_path / "logs" / "a.log", log_lines(run))
    found = facts_of_log(log, {"id": RUN_ID, "facts": f"../profiles/{RUN_ID}"})
    assert found.resolve() == folder
    assert log_of_facts(folder, read_meta(folder)).resolve() == log


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ("", "names no facts folder"),
        ("/etc", "not a relative one"),
        ("C:\\runs", "not a relative one"),
        ("a\0b", "not a relative one"),
        ("x" * 5000, "not a relative one"),
        ("../gone", "is missing"),
        (".", "is missing"),
        ("other", "belongs to run other, not to"),
    ],
)
def test_facts_that_cannot_be_used(tmp_path, facts, said):
    write_run(tmp_path, "other", "2026-03-01T00:00:00+00:00")
    with pytest.raises(DiagnosticsError, match=said):
        facts_of_log(tmp_path / "a.log", {"id": RUN_ID, "facts": facts})


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (None, "names no text log"),
        ("/etc/passwd", "not a relative one"),
        ("gone.log", "is missing"),
        ("meta.json", "belongs to another run"),
    ],
)
def test_log_that_cannot_be_used(tmp_path, log, said):
    folder = write_facts(tmp_path, make_run(2, meta={"log": log}))
    with pytest.raises(DiagnosticsError, match=said):
        log_of_facts(folder, read_meta(folder))
