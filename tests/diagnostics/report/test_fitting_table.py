"""A report on a narrow terminal: every figure stays whole beside its unit."""

import io

import pytest

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.console import add_row, make_console, print_parts, table
from diagnostics.report.terminal import render_terminal

CELLS = ("process tree RSS", "the box", "1.25 GiB", "2.75 GiB", "3.50 GiB")


def shown(width):
    rows = table("memory", "of ", "first", "at the peak", "limit")
    add_row(rows, *CELLS)
    stream = io.StringIO()
    print_parts(make_console(stream, width), [rows])
    return stream.getvalue()


@pytest.mark.parametrize("width", range(20, 80))
def test_no_figure_is_cut_and_no_line_too_long(width):
    text = shown(width)
    assert max(map(len, text.splitlines())) <= width
    joined = " ".join(text.split())
    assert "2.75 GiB" in joined
    assert "3.50 GiB" in joined
    assert "process tree RSS" in joined


def test_names_break_first_then_columns_go_then_rows_are_told():
    ways = [shown(width) for width in range(80, 19, -1)]
    whole = ["at the peak" in text and "RSS:" not in text for text in ways]
    told = ["RSS: of the" in " ".join(text.split()) for text in ways]
    without_first = ["first" not in text for text in ways]
    assert whole[0]
    assert told[-1]
    assert any(without_first)
    order = [whole.index(False), without_first.index(True), told.index(True)]
    assert order == sorted(set(order))


@pytest.mark.parametrize("width", [40, 60])
def test_the_report_keeps_every_size_with_its_unit(cpu_run, width):
    report = build_report(load_run([cpu_run]))
    stream = io.StringIO()
    render_terminal(report, stream, width)
    text = " ".join(stream.getvalue().split())
    assert max(map(len, stream.getvalue().splitlines())) <= width
    for figure in ("2.00 GiB", "64.0 GiB", "vrt.stage8", "165.0", "55.0%", "very high"):
        assert figure in text
