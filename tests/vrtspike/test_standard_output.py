"""What the data commands do when nobody reads them, or the disk behind their output is full."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vrtspike.standard_output import READER_GONE

ROOT = Path(__file__).resolve().parent.parent.parent
PRINTS = (
    "import sys\n"
    "from vrtspike.errors import VRTSpikeError\n"
    "from vrtspike.standard_output import print_error, print_line\n"
    "try:\n"
    "    for _ in range({lines}): print_line('x' * 80)\n"
    "except (VRTSpikeError, OSError) as error:\n"
    "    print_error(f'error: {{error}}')\n"
    "    sys.exit(2)\n"
)
needs_full = pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")


def in_shell(script: str, *words: str) -> "subprocess.CompletedProcess[bytes]":
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    environ.pop("PYTHONUNBUFFERED", None)  # it would hide what is left in a buffer
    return subprocess.run(
        ["bash", "-c", script, sys.executable, *words],
        capture_output=True,
        check=False,
        env=environ,
        cwd=ROOT,
    )


def test_a_reader_that_has_gone_ends_it_quietly() -> None:
    program = PRINTS.format(lines=100_000)
    done = in_shell('"$0" -c "$1" | head -n 1; exit "${PIPESTATUS[0]}"', program)
    assert (done.returncode, done.stderr) == (READER_GONE, b"")
    assert done.stdout == b"x" * 80 + b"\n"


@needs_full
def test_a_full_disk_is_one_line() -> None:
    done = in_shell('"$0" -c "$1" > /dev/full', PRINTS.format(lines=1))
    assert done.returncode == 2
    assert done.stderr == (b"error: standard output cannot be written: No space left on device\n")


@needs_full
def test_errors_on_a_full_disk_are_no_traceback() -> None:
    done = in_shell('"$0" -c "$1" > /dev/full 2> /dev/full', PRINTS.format(lines=1))
    assert done.returncode == 2


def test_a_closed_output_stops_no_work() -> None:
    done = in_shell('"$0" -c "$1" >&-', PRINTS.format(lines=3))
    assert (done.returncode, done.stderr) == (0, b"")


@needs_full
def test_a_data_command_on_a_full_disk_is_one_line(tiny_tree: Path, tmp_path: Path) -> None:
    words = ["vrtspike.data.fast_store", "--root", str(tiny_tree), "--out", str(tmp_path / "out")]
    done = in_shell('"$0" -m "$@" > /dev/full', *words)
    assert done.returncode == 2
    assert done.stderr == b"error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("name", ["fast_store", "prepare", "sample_video"])
def test_the_data_commands_print_in_no_other_way(name: str) -> None:
    tree = ast.parse((ROOT / "vrtspike" / "data" / f"{name}.py").read_text("utf-8"))
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "print_line" in called or "print_line" in {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
    }
    assert "print" not in called
