"""From paths to a run."""

import pytest

from diagnostics import load
from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from tests.diagnostics.factories import (
    RUN_ID,
    log_lines,
    make_run,
    write_facts,
    write_lines,
    write_meta,
)
from tests.diagnostics.trace_factory import starved_steps, write_trace


@pytest.fixture
def both(tmp_path):
    """Facts folder and log of one run, that know of each other."""
    run = make_run(20, meta={"log": "../../outputs/logs/a.log"}, validations=(10,))
    facts = write_facts(tmp_path / "profiles" / RUN_ID, run)
    lines = log_lines(run, 5, facts=f"../../profiles/{RUN_ID}")
    return facts, write_lines(tmp_path / "outputs" / "logs" / "a.log", lines)


def kinds(run):
    return sorted((each.kind, each.status) for each in run.inputs)


def test_log_and_facts_lead_to_each_other(both, tmp_path):
    facts, log = both
    for paths in (
        [log],
        [facts],
        [facts, log],
        [log, facts],
        [facts.parent],
        [facts / "meta.json"],
    ):
        run = load_run(paths)
        assert kinds(run) == [("facts folder", "read"), ("text log", "read")], paths
        assert run.evidence == "facts"
        assert len(run.tables.steps) == 20
        assert len(run.tables.log_steps) == 4
        assert len(run.tables.validations) == 1
        assert run.info.run_id == RUN_ID
        assert run.info.config == {"TRAIN": {"BATCH_SIZE": 2}}
        assert run.notes == ()


def test_without_a_path_the_newest_run(both):
    assert load_run([], profiles_dir=both[0].parent).info.run_id == RUN_ID


def test_what_lies_beside_the_newest_run_and_cannot_be_dated_is_a_note(both):
    profiles = both[0].parent
    (profiles / "damaged").mkdir()
    (profiles / "damaged" / "meta.json").write_text("{")
    for run in (load_run([], profiles_dir=profiles), load_run([profiles])):
        assert run.info.run_id == RUN_ID
        assert kinds(run) == [("facts folder", "read"), ("text log", "read")]
        (note,) = run.notes
        assert "not known to be older" in note


def test_log_alone(both):
    facts, log = both
    (facts.parent).rename(facts.parent.with_name("moved"))
    run = load_run([log])
    assert run.evidence == "text log only"
    assert run.inputs[0].status == "read"
    assert "is missing; the text log alone is used" in run.notes[0]
    assert run.info.world_size is None
    assert run.info.config == {}


def test_facts_alone(both):
    facts, log = both
    log.unlink()
    run = load_run([facts])
    assert kinds(run) == [("facts folder", "read")]
    assert "the facts alone are used" in run.notes[0]
    assert run.info.log_family is None


def test_facts_of_a_newer_version_leave_the_log(both):
    facts, log = both
    write_meta(facts, make_run(20), schema=2)
    run = load_run([log])
    assert run.evidence == "text log only"
    assert "schema 2" in run.notes[0]
    with pytest.raises(DiagnosticsError, match="schema 2"):
        load_run([facts])


def test_facts_killed_before_their_first_line_use_the_log(both):
    facts, log = both
    for path in facts.glob("*.jsonl"):
        path.unlink()
    run = load_run([log])
    assert run.evidence == "text log only"
    assert len(run.tables.steps) == 4
    assert run.info.config == {"TRAIN": {"BATCH_SIZE": 2}}


def test_one_bad_path_beside_a_good_one_is_kept_as_failed(both, tmp_path):
    run = load_run([tmp_path / "gone", both[1]])
    assert ("unknown", "failed") in kinds(run)
    assert run.evidence == "facts"


def test_a_trace_adds_to_a_log_and_stands_alone(both, tmp_path):
    trace = write_trace(tmp_path / "a.pt.trace.json", starved_steps())
    together, alone = load_run([both[1], trace]), load_run([trace])

    assert ("trace", "read") in kinds(together)
    assert together.evidence == "facts"
    assert alone.evidence == "trace only"
    assert alone.info.device["type"] == "cuda"
    assert len(alone.traces) == len(together.traces) == 1


def test_the_traces_beside_the_facts_are_read_with_them(both, tmp_path):
    folder = both[0]
    write_trace(folder / "host_1.2.pt.trace.json.gz", starved_steps())
    (folder / "host_1.3.pt.trace.json").write_text("no trace")
    run = load_run([folder])

    assert ("trace", "read") in kinds(run)
    assert ("trace", "not evaluated") in kinds(run)
    assert any("no trace" in note for note in run.notes)
    assert len(run.traces) == 1


def test_many_traces_beside_the_facts_must_be_asked_for(both, monkeypatch):
    write_trace(both[0] / "host_1.2.pt.trace.json.gz", starved_steps())
    monkeypatch.setattr(load, "MAX_TRACES_BYTES", 10)
    run = load_run([both[0]])

    assert ("trace", "not evaluated") in kinds(run)
    assert not run.traces


def test_two_runs_in_one_report_are_refused(both, tmp_path):
    other = make_run(5, run_id="train_20990101_000000_ffff")
    second = write_lines(tmp_path / "b.log", log_lines(other))
    run = load_run([both[1], second])
    assert ("text log", "failed") in kinds(run)
    assert any("different runs" in note for note in run.notes)
    assert run.info.run_id == RUN_ID


def test_nothing_readable_is_one_clear_line(tmp_path):
    (tmp_path / "empty.log").write_bytes(b"")
    (tmp_path / "a.bin").write_bytes(b"\0" * 50)
    for name, said in {
        "empty.log": "is empty",
        "a.bin": "neither a text log, a facts folder nor a trace",
        "gone": "does not exist",
    }.items():
        with pytest.raises(DiagnosticsError, match=said) as raised:
            load_run([tmp_path / name])
        assert "\n" not in str(raised.value)
