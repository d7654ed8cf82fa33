"""What must hold of the files and processes that a run leaves, however it ended."""

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterable
from pathlib import Path

import psutil

from vrtspike.engine.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[3]


def broken_lines(path: Path) -> int:
    """Lines of a JSONL file that do not parse."""
    count = 0
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        try:
            json.loads(line)
        except ValueError:
            count += 1
    return count


def check_files(folder: Path, *, may_cut: bool, may_leave: int) -> None:
    """Every file parses; a full disk may cut one line a file, a kill may leave a temporary one."""
    for path in folder.glob("profiles/*/*.jsonl"):
        if path.is_file():
            assert broken_lines(path) <= int(may_cut), path
    for pattern in ("profiles/*/meta.json", "profiles/*/blackbox/*.json"):
        for path in folder.glob(pattern):
            json.loads(path.read_text("utf-8"))
    for path in folder.glob("outputs/checkpoints/*/*.pt"):
        assert read_checkpoint(path).position.step > 0
    for path in folder.glob("outputs/logs/*.log"):
        if path.is_file():
            path.read_bytes().decode("utf-8", "strict" if not may_cut else "replace")
    hidden = [path for path in folder.rglob(".*") if path.is_file()]
    assert len(hidden) <= may_leave, hidden


def analyse(folder: Path) -> tuple[int, str, str]:
    """The tool's exit code, its report as JSON, and what it says to standard error."""
    spec = importlib.util.spec_from_file_location("analyse", ROOT / "analyze_performance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out, errors = io.StringIO(), io.StringIO()
    inputs = [*folder.glob("profiles/train_*"), *folder.glob("outputs/logs/*.log")][:1]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = module.main(["--json", "-", *map(str, inputs)])
    return code, out.getvalue(), errors.getvalue()


def check_report(folder: Path) -> None:
    """The tool reads what is left, and names what is missing."""
    if not [*folder.glob("profiles/train_*"), *folder.glob("outputs/logs/*.log")]:
        return
    code, page, errors = analyse(folder)
    assert code in (0, 2, 3), errors
    assert "Traceback" not in errors
    if code == 2:
        assert errors.strip(), "it says why"
        return
    found = json.loads(page)
    if found["run"]["status"] != "finished" or code == 3:
        assert found["trust"]["reasons"] or found["notes"], "what is missing has a name"


def shared_files() -> set[str]:
    """What lies in /dev/shm. Numbers of processes recur: what was there before is nobody's now."""
    return {path.name for path in Path("/dev/shm").iterdir()}


def left_in_shared_memory(before: set[str], pids: Iterable[int]) -> list[str]:
    """Files there that were not there before and carry one of these processes' numbers."""
    marks = [f"_{pid}_" for pid in pids]
    return [name for name in shared_files() - before if any(mark in name for mark in marks)]


def processes_of(session: int) -> list[psutil.Process]:
    """The processes of a session that are not merely waited for."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(process)
    return found
