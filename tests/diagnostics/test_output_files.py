"""A report never replaces another one, nor what it was made from."""

import argparse
import os
from pathlib import Path

import pytest

from diagnostics.command_line import ExitCode, shared_parser
from diagnostics.language import speaking
from diagnostics.output_files import check_outputs


def check(*arguments: str) -> argparse.Namespace:
    parser = shared_parser("tool.py", "A tool.")
    options = parser.parse_args(arguments)
    check_outputs(parser, options)
    return options


@pytest.mark.parametrize(
    ("json", "html"),
    [("x", "x"), ("./x", "x"), ("a/../x", "x"), ("link", "x"), ("log.txt", "y"), ("y", "log.txt")],
)
def test_two_that_are_one_file_are_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    json: str,
    html: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "x").write_text("earlier report")
    (tmp_path / "link").symlink_to("x")
    (tmp_path / "log.txt").write_text("step 1")
    with pytest.raises(SystemExit) as left:
        check("log.txt", "--json", json, "--html", html)
    assert left.value.code == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert ("--html" in said) == (json != "log.txt")
    assert (tmp_path / "x").read_text() == "earlier report"


@pytest.mark.parametrize(
    ("json", "html"), [("x", "y"), ("-", "-"), (os.devnull, os.devnull), ("a\0", "b")]
)
def test_files_apart_and_devices_are_left_alone(json: str, html: str) -> None:
    assert check("log.txt", "--json", json, "--html", html).json == json


def test_it_is_said_in_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    with speaking("zh"), pytest.raises(SystemExit):
        check("--json", "x", "--html", "x")
    assert "同一个文件" in capsys.readouterr().err
