"""The loader's part of a step's record, from lines of JSON to the rows of its tables."""

import json

import numpy as np

from diagnostics.load import load_run
from tests.diagnostics.factories import make_run, step_lines, write_facts, write_lines

TIMED = {"wait_ms": 4.0, "ready": 3, "worker": 1, "samples": 2, "made_ms": 60.0, "queued_ms": 9.0}
PARTS = {"read": 10.0, "decode": 40.0, "other": 10.0}


def read_steps(tmp_path, **fields):
    """A run whose every step has these fields."""
    made = make_run(3)
    folder = write_facts(tmp_path / "facts", made)
    lines = [json.dumps(json.loads(line) | fields) for line in step_lines(made, 0)]
    write_lines(folder / "steps.rank0.jsonl", lines)
    return load_run([folder])


def test_every_fetch_part_and_copy_is_a_row(tmp_path):
    fetches = [TIMED, TIMED | {"worker": 0, "unknown_key": 7}]
    tables = read_steps(
        tmp_path,
        loader={"fetches": fetches, "part_ms": PARTS},
        copy={"bytes": 100, "pinned_bytes": 60},
    ).tables
    assert list(tables.fetches["number"]) == [0, 1] * 3
    assert list(tables.fetches["worker"]) == [1.0, 0.0] * 3
    assert list(tables.fetches["is_tagged"]) == [True] * 2 + [False] * 4
    assert tables.loading.groupby("name", observed=True)["ms"].sum().to_dict() == {
        name: 3 * ms for name, ms in PARTS.items()
    }
    assert list(tables.copies["pinned_bytes"]) == [60.0] * 3


def test_missing_is_nan_and_never_zero(tmp_path):
    tables = read_steps(tmp_path, loader={"fetches": [{"wait_ms": 4.0}], "part_ms": None}).tables
    for column in ("ready", "worker", "samples", "made_ms", "queued_ms"):
        assert np.isnan(tables.fetches[column]).all()
    assert (len(tables.loading), len(tables.copies)) == (0, 0)


def test_facts_without_a_loader_are_still_read(tmp_path):
    run = read_steps(tmp_path)
    assert len(run.tables.steps) == 3
    assert (len(run.tables.fetches), len(run.tables.loading)) == (0, 0)


def test_a_damaged_loader_costs_its_line_and_is_said(tmp_path):
    run = read_steps(tmp_path, loader={"fetches": [{"wait_ms": -1}]})
    assert len(run.tables.steps) == 0
    assert any("3 of 3 lines do not fit" in note for note in run.notes)


def test_a_line_written_twice_counts_once(tmp_path):
    made = make_run(2)
    folder = write_facts(tmp_path / "facts", made)
    body = {
        "loader": {"fetches": [TIMED], "part_ms": PARTS},
        "copy": {"bytes": 1, "pinned_bytes": 0},
    }
    lines = [json.dumps(json.loads(line) | body) for line in step_lines(made, 0)]
    write_lines(folder / "steps.rank0.jsonl", [*lines, lines[-1]])
    tables = load_run([folder]).tables
    assert (len(tables.fetches), len(tables.loading), len(tables.copies)) == (2, 6, 2)
