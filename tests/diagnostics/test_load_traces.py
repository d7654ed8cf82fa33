"""Several traces of one run: a folder of ranks, what is no trace beside them, bounds."""

from pathlib import Path

import pytest

from diagnostics import load
from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from tests.diagnostics.trace_factory import starved_steps, write_text, write_trace


def write_ranks(folder: Path, count: int) -> None:
    for rank in range(count):
        name = f"host_{rank}.pt.trace.json" + (".gz" if rank % 2 else "")
        write_trace(folder / name, starved_steps(2 + rank), distributedInfo={"rank": rank})


def test_a_folder_of_traces_is_a_run_of_several_ranks(tmp_path: Path) -> None:
    write_ranks(tmp_path, 3)
    write_text(tmp_path / "settings.json", '{"batch": 4}')
    write_text(tmp_path / "empty.json", "")
    write_text(tmp_path / "notes.txt", "hello")
    run = load_run([tmp_path])

    assert [trace.rank for trace in run.traces] == [0, 1, 2]
    assert {each.status for each in run.inputs} == {"read"}


def test_a_broken_trace_among_others_costs_itself_alone(tmp_path: Path) -> None:
    write_ranks(tmp_path, 2)
    write_text(tmp_path / "broken.json", '{"schemaVersion": 1, "nothing": 3}')
    run = load_run([tmp_path])

    assert len(run.traces) == 2
    assert [each.status for each in run.inputs] == ["failed", "read", "read"]


def test_traces_beyond_the_bound_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ranks(tmp_path, 4)
    monkeypatch.setattr(load, "MAX_TRACES", 3)
    run = load_run([tmp_path])

    assert len(run.traces) == 3
    assert [each.path.name for each in run.inputs if each.status == "not evaluated"] == [
        "host_3.pt.trace.json.gz"
    ]


def test_a_folder_without_traces_is_none(tmp_path: Path) -> None:
    write_text(tmp_path / "settings.json", '{"batch": 4}')
    with pytest.raises(DiagnosticsError, match="holds no run"):
        load_run([tmp_path])
