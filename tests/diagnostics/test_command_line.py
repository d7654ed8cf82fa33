"""The edge both tools share: exit codes, one-line errors, files written whole or not at all."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagnostics.command_line import (
    ExitCode,
    choose_exit_code,
    print_error,
    run_tool,
    shared_parser,
    write_atomically,
    write_json,
)
from diagnostics.errors import DiagnosticsError
from diagnostics.printable import printable


@pytest.mark.parametrize(
    ("severities", "fail_on", "all_read", "judged", "expected"),
    [
        ([], "none", True, True, ExitCode.OK),
        (["critical"], "none", True, True, ExitCode.OK),
        (["note"], "note", True, True, ExitCode.FINDINGS),
        (["note"], "warn", True, True, ExitCode.OK),
        (["warn"], "warn", True, True, ExitCode.FINDINGS),
        (["note", "critical"], "critical", True, True, ExitCode.FINDINGS),
        (["critical"], "critical", False, True, ExitCode.BAD_INPUT),
        (["critical"], "critical", True, False, ExitCode.FINDINGS),
        ([], "critical", True, False, ExitCode.NOT_ENOUGH_EVIDENCE),
    ],
)
def test_exit_codes(severities, fail_on, all_read, judged, expected):
    assert choose_exit_code(severities, fail_on, all_read=all_read, judged=judged) == expected


@pytest.mark.parametrize(
    "arguments",
    [["--fail-on", "never"], ["--width", "7"], ["--width", "x"], ["--js", "-"], ["--width", "²"]],
)
def test_bad_arguments_are_one_line_and_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        shared_parser("tool.py", "A tool.").parse_args(arguments)
    assert left.value.code == ExitCode.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tool.py: ")
    assert captured.err.count("\n") == 1


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as left:
        shared_parser("tool.py", "A tool.").parse_args(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("tool.py ")


def test_an_error_is_one_line_whatever_it_names(capsys):
    def tool(_):
        raise DiagnosticsError("run\n\x1b[2Jname\u202e: is broken")

    assert run_tool("tool.py", tool) == ExitCode.BAD_INPUT
    assert capsys.readouterr().err == "tool.py: run\\n\\x1b[2Jname\\u202e: is broken\n"


def test_a_bug_keeps_its_traceback():
    def tool(_):
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError):
        run_tool("tool.py", tool)


def test_ctrl_c_is_exit_code_130():
    def tool(_):
        raise KeyboardInterrupt

    assert run_tool("tool.py", tool) == ExitCode.INTERRUPTED


def test_a_closed_pipe_is_no_traceback():
    program = (
        "from diagnostics.command_line import run_tool\n"
        "def tool(_):\n"
        "    for _ in range(100_000): print('x' * 80)\n"
        "    return 0\n"
        "raise SystemExit(run_tool('tool.py', tool))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        code = process.wait(timeout=30)
    assert (code, errors) == (ExitCode.READER_GONE, b"")


TOOL = (
    "from diagnostics.command_line import print_error, run_tool\n"
    "def tool(_):\n"
    "    print('report')\n"
    "    print_error('tool.py', 'said')\n"
    "    return 0\n"
    "raise SystemExit(run_tool('tool.py', tool))\n"
)


def in_shell(redirection: str) -> subprocess.CompletedProcess[bytes]:
    command = f'"$0" -c "$1" {redirection}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, TOOL], capture_output=True, check=False
    )


def test_a_stream_that_the_shell_closed_is_no_traceback_and_a_lost_report_is_told():
    no_output, no_errors = in_shell(">&-"), in_shell("2>&-")
    assert no_output.returncode == ExitCode.BAD_INPUT
    assert no_output.stderr.splitlines() == [
        b"tool.py: said",
        b"tool.py: the output cannot be written: standard output is closed",
    ]
    assert (no_errors.returncode, no_errors.stdout) == (0, b"report\n")


def test_where_nothing_is_printed_a_closed_output_is_no_error():
    silent = TOOL.replace("    print('report')\n", "")
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" >&-', sys.executable, silent], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"tool.py: said\n")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line():
    done = in_shell(">/dev/full")
    assert done.returncode == ExitCode.BAD_INPUT
    assert done.stderr.splitlines()[-1] == (
        b"tool.py: the output cannot be written: No space left on device"
    )
    assert b"Traceback" not in done.stderr


def test_a_pipe_is_written_into_and_not_replaced(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    try:
        write_atomically(pipe, "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_stream_that_knows_only_ascii_gets_escapes():
    program = (
        "from diagnostics.command_line import run_tool\n"
        "raise SystemExit(run_tool('tool.py', lambda _: print('\\u26a0 \\udc80') or 0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"\\u26a0 \\udc80\n")


def test_a_file_is_replaced_whole(tmp_path: Path):
    target = tmp_path / "report.json"
    target.write_text("old")
    write_atomically(target, "new")
    assert target.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_the_old_file_stays_when_writing_fails(tmp_path: Path):
    target = tmp_path / "report.json"
    target.write_text("old")
    with pytest.raises(DiagnosticsError, match="cannot be written"):
        write_atomically(target, "lone surrogate \udc80")
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("name", ["missing/report.json", ".", "", "with\0zero"])
def test_an_unusable_target_is_said(tmp_path: Path, name: str, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DiagnosticsError):
        write_atomically(Path(name), "text")


def test_json_to_stdout_is_the_text_alone(capsys):
    write_json("-", "{}\n")
    assert capsys.readouterr().out == "{}\n"


def test_error_stream_can_be_given():
    stream = io.StringIO()
    print_error("tool.py", "broken", stream)
    assert stream.getvalue() == "tool.py: broken\n"


def test_long_text_is_cut_in_the_middle():
    text = printable("a" * 300 + "b" * 300, limit=25)
    assert text == "a" * 10 + " ... " + "b" * 10
