"""Runs below TensorBoard's folder are found by the names of their files alone."""

import os
from pathlib import Path

from diagnostics.tensorboard_plugin import run_folders
from diagnostics.tensorboard_plugin.run_folders import find_runs, has_run


def put(path: Path, text: str = "{}", at: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at is not None:
        os.utime(path, (at, at))
    return path


def test_runs_are_found_at_any_depth_the_newest_first(tmp_path: Path) -> None:
    put(tmp_path / "a" / "meta.json", at=100)
    put(tmp_path / "team" / "b" / "steps.rank0.jsonl", at=300)
    put(tmp_path / "c" / "host_1.123.pt.trace.json.gz", at=200)
    put(tmp_path / "no_run" / "events.out.tfevents.1")

    runs = find_runs(tmp_path)

    assert [run.name for run in runs] == ["team/b", "c", "a"]
    assert runs[0].paths == (tmp_path / "team" / "b",)
    assert [path.name for path in runs[1].paths] == ["host_1.123.pt.trace.json.gz"]
    assert has_run(tmp_path)


def test_the_folder_itself_can_be_the_run(tmp_path: Path) -> None:
    put(tmp_path / "train_1" / "meta.json")
    (run,) = find_runs(tmp_path / "train_1")
    assert (run.name, run.paths) == ("train_1", (tmp_path / "train_1",))


def test_no_folder_is_no_run(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "missing") == ()
    assert not has_run(tmp_path)


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    path = put(tmp_path / "a" / "meta.json", "{}", at=100)
    (before,) = find_runs(tmp_path)
    (again,) = find_runs(tmp_path)
    put(path, '{"longer": 1}', at=100)
    (after,) = find_runs(tmp_path)

    assert before.fingerprint == again.fingerprint != after.fingerprint


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "outside" / "run" / "meta.json")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "loop").symlink_to(tmp_path)
    assert find_runs(tmp_path / "inside") == ()


def test_the_search_ends(tmp_path: Path, monkeypatch) -> None:
    put(tmp_path / "a" / "b" / "c" / "d" / "meta.json")
    assert find_runs(tmp_path) == ()
    put(tmp_path / "z" / "meta.json")
    monkeypatch.setattr(run_folders, "MAX_FOLDERS", 2)
    assert find_runs(tmp_path) == ()
