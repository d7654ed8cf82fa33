"""The audit of facts, each check from both sides."""

from pathlib import Path

import pytest

from diagnostics import tables as declared
from diagnostics.analyses.audit_limits import STEP_LIMITS
from diagnostics.analyses.audit_steps import audit_steps
from diagnostics.report.audit_words import WORDS, page, reason_of
from diagnostics.run import FACTS, TEXT_LOG_ONLY, Run, RunInfo, RunTables

STEP_MS = 100.0
DONE = RunInfo(status="finished")


def tables_of(rows, log=(), events=()):
    """Rows are rank, step, start in s, length in ms."""
    common = {"num_steps": 1, "is_tagged": False, "clock": "host"}
    steps = [
        {"rank": r, "step": n, "start_unix_s": at, "tags": "", "num_tagged": 0, **common}
        for r, n, at, _ in rows
    ]
    phases = [{"rank": r, "step": n, "name": "step", "ms": ms, **common} for r, n, _, ms in rows]
    return RunTables(
        steps=declared.STEPS.from_records(steps),
        phases=declared.PHASES.from_records(phases),
        log_steps=declared.LOG_STEPS.from_records(
            [{"rank": 0, "step": n, "step_time_ms": ms} for n, ms in log]
        ),
        events=declared.EVENTS.from_rows([(r, e, None, None, v, "x:1") for r, e, v in events]),
    )


def rows_of(numbers=range(1, 21), rank=0, length=lambda n: STEP_MS):
    rows, at = [], 1000.0
    for number in numbers:
        rows.append((rank, number, at, length(number)))
        at += length(number) / 1e3
    return rows


def audited(rows, info=DONE, **more):
    run = Run(inputs=(), info=info, evidence=FACTS, tables=tables_of(rows, **more))
    return audit_steps(run, None)


def grade(audit, check):
    return next((each.grade for each in audit.doubts if each.check == check), None)


def test_sound_facts_pass():
    placed = [(0, "rank_place", {"world_size": 1})]
    log = [(n, STEP_MS) for n in (5, 10, 15)]
    audit = audited(rows_of(), log=log, events=placed)
    assert audit.doubts == ()
    assert set(audit.passed) == set(STEP_LIMITS) - {"recorder_overhead"}


def test_a_text_log_alone_is_not_audited_as_facts():
    run = Run(inputs=(), info=DONE, evidence=TEXT_LOG_ONLY, tables=tables_of(rows_of()))
    assert audit_steps(run, None).passed == ()


@pytest.mark.parametrize(("kept", "expected"), [(20, None), (19, "B"), (17, "C")])
def test_steps_without_a_record(kept, expected):
    numbers = [1, *range(22 - kept, 21)]
    assert grade(audited(rows_of(numbers)), "steps_missing") == expected


@pytest.mark.parametrize(("twice", "expected"), [((), None), ((3,), "B"), ((3, 4, 5), "C")])
def test_steps_recorded_twice(twice, expected):
    audit = audited([*rows_of(), *rows_of(twice)])
    assert grade(audit, "steps_doubled") == expected


@pytest.mark.parametrize(("back_s", "expected"), [(0.0, None), (0.05, None), (3.0, "B")])
def test_a_clock_that_was_set_back(back_s, expected):
    rows = [(r, n, at - (back_s if n > 10 else 0), ms) for r, n, at, ms in rows_of()]
    audit = audited(rows)
    assert grade(audit, "clock_stepped") == expected
    if expected:
        assert audit.doubts[0].values["step"] == 11


def test_a_pause_between_steps_is_no_clock_s_fault():
    rows = [(r, n, at + (60 if n > 10 else 0), ms) for r, n, at, ms in rows_of()]
    assert grade(audited(rows), "clock_stepped") is None


@pytest.mark.parametrize(
    ("said_ms", "expected"), [(104.0, None), (106.0, "B"), (125.0, "C"), (0.1, "C")]
)
def test_a_log_that_says_otherwise(said_ms, expected):
    audit = audited(rows_of(), log=[(n, said_ms) for n in (5, 10, 15)])
    assert grade(audit, "log_against_facts") == expected


def test_two_lines_of_a_log_are_too_few_to_contradict():
    assert grade(audited(rows_of(), log=[(5, 900.0), (10, 900.0)]), "log_against_facts") is None


@pytest.mark.parametrize(("there", "expected"), [(4, None), (3, "B"), (2, "C")])
def test_ranks_without_facts(there, expected):
    rows = [row for rank in range(there) for row in rows_of(rank=rank)]
    audit = audited(rows, events=[(0, "rank_place", {"world_size": 4})])
    assert grade(audit, "ranks_missing") == expected


@pytest.mark.parametrize(
    ("status", "expected"), [("finished", None), ("failed", None), ("running", "B")]
)
def test_a_run_without_an_end(status, expected):
    assert grade(audited(rows_of(), RunInfo(status=status)), "end_missing") == expected


@pytest.mark.parametrize(("slow_ms", "expected"), [(140.0, None), (210.0, "B"), (520.0, "C")])
def test_warm_up_among_ordinary_steps(slow_ms, expected):
    audit = audited(rows_of(length=lambda n: slow_ms if n == 1 else STEP_MS))
    assert grade(audit, "warm_up_inside") == expected


def test_every_check_has_words_and_its_sentence_can_be_said():
    audit = audited(
        [*rows_of([1, 3, 4, 5, 6, 7]), *rows_of([3])],
        RunInfo(status="running"),
        log=[(n, 1.0) for n in (3, 5, 7)],
        events=[(0, "rank_place", {"world_size": 4})],
    )
    said = [reason_of(doubt) for doubt in audit.doubts]
    assert len(said) >= 5
    assert all(text.startswith("facts: ") and "; " in text for text in said)
    assert set(WORDS) >= set(STEP_LIMITS)


def test_the_page_is_current():
    path = Path(__file__).resolve().parents[3] / "docs/trust.md"
    assert path.read_text("utf-8") == page(), "run: python -m diagnostics.report.audit_words"
