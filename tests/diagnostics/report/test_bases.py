"""What a table's times are of stands beside it, not at the end of the report."""

import io
from dataclasses import replace

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.terminal import render_terminal
from tests.diagnostics.factories import MadeRun, log_lines, make_step, write_facts, write_lines


def text_of(run):
    stream = io.StringIO()
    render_terminal(build_report(run), stream, 400)
    return stream.getvalue()


def part(text, heading):
    """From a heading to the next blank line's next heading."""
    return text.partition(heading)[2].partition("\n\n")[0]


def test_a_run_of_tagged_steps_says_so_below_its_phases(tmp_path):
    made = MadeRun(ranks=[[make_step(step, tags=("profiled",)) for step in range(1, 4)]])
    text = text_of(load_run([write_facts(tmp_path / "run", made)]))
    assert "every step carries a tag" in part(text, "Phases of the step")
    assert "every step carries a tag" not in part(text, "\nNotes")


def test_means_of_a_log_say_so_below_its_phases(tmp_path):
    made = MadeRun(ranks=[[make_step(step) for step in range(1, 13)]])
    text = text_of(load_run([write_lines(tmp_path / "a.log", log_lines(made, every=4))]))
    assert "each value is a mean over several steps" in part(text, "Phases of the step")


def test_stages_of_some_steps_say_that_they_sum_to_those(tmp_path):
    """Every fourth step holds stages and takes longer."""
    steps = [make_step(step, 1.5 if step % 4 == 0 else 1.0) for step in range(1, 25)]
    run = load_run([write_facts(tmp_path / "run", MadeRun(ranks=[steps]))])
    said = "Stages were recorded in 6 of the 24 steps"
    assert said not in text_of(run)
    stages = run.tables.stages
    thinned = replace(run, tables=replace(run.tables, stages=stages[stages["step"] % 4 == 0]))
    text = part(text_of(thinned), "\nSlowest stages")
    assert f"{said}: they sum to the forward of those" in text
    assert "(15.0 and 11.2 ms)" in text


def test_notes_of_a_run_without_phases_stay_notes(tmp_path):
    text = text_of(load_run([write_lines(tmp_path / "a.log", ["[run] id=x schema=1 clock=host"])]))
    assert "no step was recorded" in part(text, "\nNotes")
