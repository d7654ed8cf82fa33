"""What a log says once or now and then, and the step that it says it at."""

import pytest

from diagnostics.parsers import scanned
from diagnostics.parsers.log_formats import records
from diagnostics.parsers.text_log import parse_text_log
from tests.diagnostics.factories import write_lines

RUN = "[run] id=train_20260102_030405_ab12 schema=1"
DEATH = "RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed. "
WARNING = "[Memory Warning] system memory at 91.0%"


def steps_of(path, lines):
    events = parse_text_log(write_lines(path / "a.log", lines)).tables.events
    return [None if step != step else int(step) for step in events["step"].astype(float)]


def test_a_statement_is_of_the_last_step_before_it(tmp_path):
    steps = [f"step {n} | loss=0.5" for n in (10, 20, 30)]
    lines = [RUN, WARNING, steps[0], WARNING, steps[1], WARNING, WARNING, steps[2], WARNING]
    assert steps_of(tmp_path, lines) == [None, 10, 20, 20, 30]


def test_a_loading_process_that_died_is_told_with_its_signal(tmp_path):
    path = write_lines(tmp_path / "a.log", ["step 5 | loss=0.5", DEATH])
    (event,) = parse_text_log(path).tables.events.to_dict("records")
    assert (event["name"], event["step"]) == ("loading_process_died", 5)
    assert event["values"]["signal"] == "Killed"


def test_memory_lines_are_labelled_by_what_stands_before_them(tmp_path):
    memory = "Memory - Process: 15678.9MB (6.1%), System: 125.4/256.0GB (49.0%)"
    lines = [RUN, f"[Step 100] {memory}", f"[After model creation] {memory}"]
    labels = parse_text_log(write_lines(tmp_path / "a.log", lines)).tables.memory_lines["label"]
    assert list(labels) == ["Step 100", "After model creation"]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_records_beyond_the_bound_are_counted(monkeypatch, most):
    monkeypatch.setattr(records, "MAX_RECORDS", most)
    made = [{"step": float(n), "loss": 1.0} for n in range(1, 6)]
    found = records.scanned_records("any", [*made, {"loss": 1.0}, {"step": 9.0}])
    assert found.num_recognised == most
    assert found.left_out[scanned.LOG_LINE] == 5 - most


def test_a_step_shorter_than_a_millisecond_counts(tmp_path):
    lines = [RUN, *(f"step {n} | loss=0.5 | data_time=0.2ms step_time=0.4ms" for n in (1, 2, 3))]
    phases = parse_text_log(write_lines(tmp_path / "a.log", lines)).tables.phases
    assert set(phases.loc[phases["name"] == "step", "ms"]) == {0.4}
    assert set(phases.loc[phases["name"] == "data_wait", "ms"]) == {0.2}


@pytest.mark.parametrize(
    ("line", "family"),
    [
        ("step {n} | loss=0.5 | data_time=0.2ms step_time=4.1ms", "vrt-spike"),
        ("step {n} | loss=0.5 | data_time=0.2ms", "original trainer"),
    ],
)
def test_without_its_first_line_a_log_is_ours_by_the_time_of_its_steps(tmp_path, line, family):
    lines = [line.format(n=n) for n in range(1, 5)]
    assert parse_text_log(write_lines(tmp_path / "a.log", lines)).family == family
