"""Time outside the steps: spans against the wall time, the start, what is not saved."""

import pytest

from diagnostics import tables as declared
from diagnostics.analyses.outside_steps import compute_outside_steps
from diagnostics.run import TEXT_LOG_ONLY, RunInfo
from tests.diagnostics.factories import phase_rows, run_of

START_S = 1_767_322_800.0  # 2026-01-02T03:00:00Z


def made(spans=(), started_at=None, evidence="facts"):
    """Ten steps of a second each, from START_S; spans are (name, step, seconds in, seconds)."""
    steps = declared.STEPS.from_records(
        [
            {
                "rank": 0, "step": step, "num_steps": 1, "is_tagged": False, "tags": "",
                "num_tagged": 0, "clock": "host", "start_unix_s": START_S + step - 1,
            }
            for step in range(1, 11)
        ]
    )  # fmt: skip
    phases = phase_rows([(0, step, "step", 1000.0) for step in range(1, 11)])
    rows = [(0, name, step, START_S + at, 1000 * s, {}) for name, step, at, s in spans]
    info = RunInfo(started_at=started_at)
    tables = {"steps": steps, "phases": phases, "spans": declared.SPANS.from_rows(rows)}
    return compute_outside_steps(run_of(evidence, info, **tables))


def test_shares_are_of_the_wall_time_to_the_last_end():
    found = made([("validation", 10, 10.0, 10.0), ("validation", 5, 5.0, 0.0)])
    assert found.wall_s == pytest.approx(20.0)
    use = found.spans["validation"]
    assert (use.count, use.ms_per_step) == (2, pytest.approx(1000.0))
    assert use.wall_share == pytest.approx(0.5)


def test_what_came_after_the_last_checkpoint_is_not_saved():
    found = made([("checkpoint", 6, 6.0, 0.5)])
    assert (found.unsaved_steps, found.unsaved_s) == (4, pytest.approx(3.5))


def test_without_a_checkpoint_nothing_is_saved():
    found = made()
    assert (found.unsaved_steps, found.unsaved_s) == (10, pytest.approx(10.0))


@pytest.mark.parametrize(
    ("started_at", "expected"),
    [
        ("2026-01-02T02:59:30+00:00", 30.0),
        ("2026-01-02T02:59:30", None),
        ("not a time", None),
        ("2026-01-02T03:10:00+00:00", None),
        (None, None),
    ],
)
def test_the_start_is_the_time_to_the_first_step(started_at, expected):
    assert made(started_at=started_at).first_step_after_s == expected


def test_a_log_states_no_spans():
    assert made(evidence=TEXT_LOG_ONLY).wall_s is None
