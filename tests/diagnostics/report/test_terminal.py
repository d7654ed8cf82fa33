"""The terminal report: golden text at 80 columns, widths, escaping, no colour unless asked for."""

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.terminal import render_terminal
from diagnostics.run import Input

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "reports"
HOSTILE = "run\x1b[2J\n[bold]red[/]\u202etxt.exe\udc80"


def text_of(report, width=80, color=False):
    stream = io.StringIO()
    render_terminal(report, stream, width, color)
    return stream.getvalue()


def report_of(folder: Path):
    """The report with the path of the test's folder, and the size of its files, made constant."""
    report = build_report(load_run([folder]))
    cost = replace(report.analysis.recorder_cost, bytes_per_step=1900.0)
    report = replace(report, analysis=replace(report.analysis, recorder_cost=cost))
    inputs = tuple(replace(each, path=Path("profiles/run")) for each in report.inputs)
    notes = tuple(note.replace(folder.name, "run") for note in report.notes)
    return replace(report, inputs=inputs, notes=notes)


@pytest.mark.parametrize("name", ["cpu_run", "starved_run"])
def test_golden(name, request):
    text = text_of(report_of(request.getfixturevalue(name)))
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("RENEW_GOLDEN"):  # after a wanted change; then read the difference
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_terminal(starved_run, width):
    lines = text_of(report_of(starved_run), width).splitlines()
    assert max(map(len, lines)) <= width


def test_plain_output_is_printable_ascii_without_trailing_blanks(starved_run):
    text = text_of(report_of(starved_run))
    assert text.isascii()
    assert "\x1b" not in text
    assert not re.search(r" $", text, re.MULTILINE)


def test_colour_changes_nothing_but_colour(starved_run):
    report = report_of(starved_run)
    coloured = text_of(report, color=True)
    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert re.sub(r" +$", "", plain, flags=re.MULTILINE) == text_of(report)


def test_a_wait_that_is_partly_hidden_is_split(starved_run):
    report = report_of(starved_run)
    assert "of it exposed" not in text_of(report)  # all of it is
    breakdown = report.analysis.breakdown
    for exposed, hidden, shown in ((480.0, 120.0, "480.0"), (None, None, "-")):
        data = replace(
            breakdown.data_against_compute, data_wait_exposed_ms=exposed, data_wait_hidden_ms=hidden
        )
        split = replace(
            report,
            analysis=replace(
                report.analysis, breakdown=replace(breakdown, data_against_compute=data)
            ),
        )
        text = text_of(split)
        assert re.search(rf"of it exposed +{shown} ", text)
        assert re.search(rf"of it hidden +{'120.0' if hidden else '-'} ", text)


def test_names_from_files_cannot_steer_the_terminal(starved_run):
    report = report_of(starved_run)
    stage = report.slowest[0]
    hostile = replace(
        report,
        info=replace(report.info, run_id=HOSTILE, device={"name": HOSTILE}),
        inputs=(Input(path=Path(HOSTILE), kind="text log", status="read", notes=()),),
        slowest=(replace(stage, time=replace(stage.time, name=HOSTILE)),),
        notes=(HOSTILE,),
    )
    text = text_of(hostile, width=120)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("[bold]red[/]") == 5
    assert "run\\x1b[2J\\n[bold]red[/]\\u202etxt.exe\\udc80" in text


def test_symptoms_stand_under_their_cause(starved_run):
    text = text_of(report_of(starved_run))
    assert "explains GP001 gpu-utilisation-low" in text
    assert not re.search(r"^  \d+\. \w+ GP001", text, re.MULTILINE)


def test_rules_that_could_not_look_share_a_line_for_the_same_reason(cpu_run):
    text = text_of(report_of(cpu_run), width=200)
    assert text.count("the rule is about GPU runs") == 1
    shared = next(line for line in text.splitlines() if "DL003" in line and "evaluated" in line)
    assert {"DL003", "GM001", "GM002", "GP001", "GP002", "GP204"} <= set(re.findall(r"\w+", shared))


def test_a_report_on_next_to_nothing_still_prints(new_run):
    text = text_of(report_of(new_run(steps=1)))
    assert "Cannot judge: 1 step is no measurement" in text
    assert "Record next" in text


def test_several_ranks_have_a_table_of_their_own(starved_run):
    for name in ("steps", "spans"):
        text = (starved_run / f"{name}.rank0.jsonl").read_text("utf-8")
        (starved_run / f"{name}.rank1.jsonl").write_text(text, "utf-8")
    text = text_of(report_of(starved_run))
    assert re.search(r"^  1 +936\.0 +600\.0 +64\.1% +40$", text, re.MULTILINE)
    assert "4.27 samples/s" in text


def test_a_killed_run_is_said(new_run, gpu_meta):
    text = text_of(report_of(new_run(meta=replace(gpu_meta, status="running"))))
    assert "no end recorded (killed, or still running)" in text.replace("\n", " ")
