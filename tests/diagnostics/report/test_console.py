"""When a report has colours: on a terminal, unless somebody wants none."""

import io

import pytest

from diagnostics.report.console import make_console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "color", "is_coloured"),
    [
        ({}, None, True),
        ({"NO_COLOR": "1"}, None, False),
        ({"NO_COLOR": ""}, None, True),
        ({"TERM": "dumb"}, None, False),
        ({"NO_COLOR": "1"}, True, True),
        ({}, False, False),
    ],
)
def test_colours_of_a_terminal(monkeypatch, environ, color, is_coloured):
    for name, value in ({"NO_COLOR": "", "TERM": "xterm-256color"} | environ).items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    make_console(stream, 80, color).print("x", style="bold red")
    assert ("\x1b[" in stream.getvalue()) == is_coloured


def test_a_pipe_has_none(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    make_console(stream, 80).print("x", style="bold red")
    assert stream.getvalue() == "x\n"
