"""Rows within a bound."""

from diagnostics import tables as declared
from diagnostics.parsers.row_buffer import RowBuffer


def phase_row(step, rank=0, name="forward"):
    return (rank, step, name, "host", float(step), 1, False)


def test_rows_below_the_bound_are_all_kept(monkeypatch):
    monkeypatch.setattr("diagnostics.parsers.row_buffer._PART_ROWS", 3)
    buffer = RowBuffer(declared.PHASES, max_rows=10)
    for step in range(10):
        buffer.add(phase_row(step))
    assert list(buffer.frame()["step"]) == list(range(10))
    assert buffer.notes() == ()


def test_above_the_bound_the_same_steps_stay_for_every_rank(monkeypatch):
    monkeypatch.setattr("diagnostics.parsers.row_buffer._PART_ROWS", 8)
    buffer = RowBuffer(declared.PHASES, max_rows=50)
    for rank in range(2):
        for step in range(1, 101):
            buffer.add(phase_row(step, rank))
    frame = buffer.frame()
    assert len(frame) <= 50
    assert set(frame["step"]) == {step for step in range(1, 101) if step % buffer.stride == 0}
    assert (frame.groupby("step")["rank"].nunique() == 2).all()
    assert "only about every 4th step was kept" in buffer.notes()[0]


def test_where_thinning_cannot_help_rows_are_refused_and_said(monkeypatch):
    monkeypatch.setattr("diagnostics.parsers.row_buffer._PART_ROWS", 10)
    buffer = RowBuffer(declared.PHASES, max_rows=20)
    for place in range(200):
        buffer.add(phase_row(0, name=f"part{place}"))
    assert len(buffer.frame()) <= 40
    assert any("were left out" in note for note in buffer.notes())


def test_samples_are_thinned_by_time(monkeypatch):
    monkeypatch.setattr("diagnostics.parsers.row_buffer._PART_ROWS", 100)
    buffer = RowBuffer(declared.PROCESSES, max_rows=300)
    for sample in range(1000):  # 2 s apart: not all kept, not all dropped
        row = ("box", 1e9 + 2 * sample, 1, "main", "python", 1.0)
        buffer.add((*row, *[None] * (len(declared.PROCESSES.column_names) - len(row))))
    assert 50 <= len(buffer.frame()) <= 300
    assert "sample was kept" in buffer.notes()[0]
