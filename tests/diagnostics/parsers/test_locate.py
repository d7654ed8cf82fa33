"""Which run is the newest, and what a path in a file may lead to."""

import pytest

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers.facts import read_meta
from diagnostics.parsers.locate import facts_of_log, log_of_facts, newest_run
from tests.diagnostics.factories import RUN_ID, log_lines, make_run, write_facts, write_lines


def write_run(profiles, name, started_at):
    return write_facts(profiles / name, make_run(2, run_id=name, started_at=started_at))


def test_newest_is_by_start_and_not_by_name_or_file_time(tmp_path):
    newest = write_run(tmp_path, "a", "2026-03-01T00:00:00+00:00")
    write_run(tmp_path, "z", "2026-02-01T00:00:00+00:00")
    (tmp_path / "no_run").mkdir()
    (tmp_path / "file").write_text("x")
    assert newest_run(tmp_path) == newest


def test_time_zones_count(tmp_path):
    write_run(tmp_path, "later_by_text", "2026-03-01T05:00:00+08:00")
    newest = write_run(tmp_path, "later_in_truth", "2026-03-01T00:00:00+00:00")
    assert newest_run(tmp_path) == newest


def test_a_damaged_meta_is_oldest(tmp_path):
    (write_run(tmp_path, "z", "2026-03-01T00:00:00+00:00") / "meta.json").write_text("{")
    write_run(tmp_path, "y", "yesterday")
    newest = write_run(tmp_path, "a", "2020-03-01T00:00:00")
    assert newest_run(tmp_path) == newest


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
