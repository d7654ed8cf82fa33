"""Seeded damaged inputs of five kinds, and what must hold when they are read.

A case is a kind and a seed: the seed alone makes it again. Most cases read and analyse in this
process; every `FULL_EVERY`-th runs the whole tool.
"""

import gzip
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

import analyze_performance
import diagnose_memory
from diagnostics.analyses.snapshot_memory import TOP, analyse_snapshot
from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.command_line import run_tool
from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from diagnostics.parsers.facts import parse_facts
from diagnostics.parsers.snapshot_file import read_snapshot
from diagnostics.parsers.text_log import parse_text_log
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.mutations import damaged_bytes, damaged_lines, damaged_record
from tests.diagnostics.snapshot_factory import MIB, Allocator, frames
from tests.diagnostics.trace_factory import event, kernel, starved_steps
from vrtspike.config import load_config
from vrtspike.errors import VRTSpikeError

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
DEMO_LOG = next((DATA / "demo_run" / "outputs" / "logs").iterdir())
DEMO_FACTS = next(path for path in (DATA / "demo_run" / "profiles").iterdir() if path.is_dir())
LOGS = (DEMO_LOG, *sorted((DATA / "logs").glob("*.log")))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
FULL_EVERY = 25
MAX_LINES = 60
"""Lines of a log or of facts in one case: damage in a short file is as good, and sooner found."""

SCRIPT = "<script>alert(1)</script>"
FIELDS = {
    "distributedInfo": {"rank": 0, "world_size": 2, "backend": "nccl"},
    "deviceProperties": [{"name": f"H100{SCRIPT}", "totalGlobalMem": 80 << 30, "computeMajor": 9}],
}


def run_case(kind: str, seed: int, folder: Path) -> None:
    """Makes the case in an empty folder and reads it.

    Raises:
        AssertionError: an error of more than one line, a tool that failed, a script let through.
        Exception: anything else that reading raised is a bug.
    """
    chance = random.Random(f"{kind} {seed}")
    KINDS[kind](chance, folder, seed % FULL_EVERY == 0)


def _read(read: Callable[[], Any]) -> None:
    said = ""
    try:
        read()
    except (DiagnosticsError, VRTSpikeError) as error:
        said = str(error)
    assert "\n" not in said, f"an error of several lines: {said!r}"


def _report(folder: Path, *paths: Path) -> None:
    """The whole tool, with every kind of report."""
    page = folder / "report.html"
    arguments = [*map(str, paths), "--json", str(folder / "report.json"), "--html", str(page)]
    code = run_tool("tool", lambda _: analyze_performance.main(arguments))
    assert code in (0, 2, 3), f"exit code {code}"
    if page.exists():
        assert SCRIPT not in page.read_text("utf-8"), "a script of the input is in the page"


def whole_trace() -> dict[str, Any]:
    """A small trace with something of everything."""
    events = starved_steps(4)
    events += [
        event("python_function", "train.py(3): train", 1000, 300),
        event("cuda_runtime", "cudaMemcpyAsync", 1005, 5, correlation=900),
        event("gpu_memcpy", "Memcpy HtoD", 1010, 9, tid=7, correlation=900, device=0, bytes=1000),
        event("kernel", "ncclDevKernel_AllReduce", 1190, 30, tid=9, correlation=901, device=0),
        event("cpu_op", SCRIPT, 1210, 30),
        *kernel(f"k{SCRIPT}", 1211, 1250, 40, 902),
        event("overhead", "Activity Buffer Request", 1020, 3),
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}},
    ]
    return {"schemaVersion": 1, **FIELDS, "traceEvents": events}


def damaged_trace(chance: random.Random, folder: Path) -> Path:
    """A trace whose values, text or compression are damaged."""
    trace = whole_trace()
    if chance.random() < 0.5:
        for _ in range(chance.choice((1, 3, 20))):
            place = chance.randrange(len(trace["traceEvents"]))
            trace["traceEvents"][place] = damaged_record(trace["traceEvents"][place], chance)
        fields = damaged_record(FIELDS, chance)
        trace |= fields if isinstance(fields, dict) else {}
        text = json.dumps(trace, ensure_ascii=chance.random() < 0.5)
        content = text.encode("utf-8", "surrogatepass")
    else:
        shape: Any = trace["traceEvents"] if chance.random() < 0.2 else trace
        content = damaged_bytes(json.dumps(shape, indent=chance.choice((None, 1))).encode(), chance)
    if chance.random() < 0.3:
        content = gzip.compress(content, 1)
        content = damaged_bytes(content, chance) if chance.random() < 0.5 else content
    path = folder / "damaged.json"
    path.write_bytes(content)
    return path


def _trace(chance: random.Random, folder: Path, is_full: bool) -> None:
    path = damaged_trace(chance, folder)
    if is_full:
        _report(folder, path)
        return
    with suppress(DiagnosticsError):
        found = analyse_trace(parse_trace(path)).breakdown
        assert found is None or sum(part.ns for part in found.partition) == found.window_ns


def _some(lines: list[Any], chance: random.Random) -> list[Any]:
    """The first line, and some that follow each other."""
    at = chance.randrange(max(1, len(lines) - MAX_LINES))
    return lines[:1] + lines[max(1, at) : at + MAX_LINES]


def _log(chance: random.Random, folder: Path, is_full: bool) -> None:
    lines = _some(chance.choice(LOGS).read_bytes().splitlines(keepends=True), chance)
    path = folder / chance.choice(("train_20261122_015337.log", "timing.log", "log.txt"))
    path.write_bytes(damaged_bytes(b"".join(lines), chance))
    if is_full:
        _report(folder, path)
    else:
        _read(lambda: parse_text_log(path))


def _facts(chance: random.Random, folder: Path, is_full: bool) -> None:
    run = folder / "profiles" / DEMO_FACTS.name
    run.mkdir(parents=True)
    for source in DEMO_FACTS.glob("*.json*"):
        lines = source.read_text().splitlines()
        kept = lines if source.suffix == ".json" else _some(lines, chance)
        (run / source.name).write_text("\n".join(kept) + "\n")
    files = sorted(run.iterdir())
    for path in chance.sample(files, chance.choice((1, 2, len(files)))):
        _damage_facts(path, chance)
    if is_full:
        _report(folder, run)
        _memory_report(folder, run)
    else:
        _read(lambda: parse_facts(run))


def _damage_facts(path: Path, chance: random.Random) -> None:
    if chance.random() < 0.3:
        path.write_bytes(damaged_bytes(path.read_bytes(), chance))
    elif path.suffix == ".json":
        record = json.loads(path.read_text())
        for _ in range(chance.choice((1, 5, 20))):
            record = damaged_record(record, chance)
        path.write_text(json.dumps(record))
    else:
        lines = damaged_lines(path.read_text().splitlines(), chance)
        path.write_text("\n".join(lines) + "\n", "utf-8", "replace")


class _Touch:
    """Unpickled, it makes a file: what reads a snapshot must not."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


def _small_snapshot(chance: random.Random) -> dict[str, Any]:
    """Of a device that ran out: tensors that stay, holes between them, labels with a script."""
    allocator = Allocator()
    stack = frames(("train.py", 3, SCRIPT), ("train.py", 9, "main"))
    for step in range(1, 5):
        allocator.label = f"step={step} stage={SCRIPT} phase=forward"
        held = [allocator.alloc(chance.choice((100, MIB, 7 * MIB)), stack) for _ in range(3)]
        allocator.alloc(2 * MIB, stack)
        for address in held:
            allocator.free(address)
    allocator.run_out(30 * MIB, MIB, stack)
    return allocator.snapshot()


def damaged_snapshot(chance: random.Random, marker: Path) -> bytes:
    """A pickle of PyTorch's allocator, whose values or bytes are damaged, or which attacks."""
    content: Any = _small_snapshot(chance)
    how = chance.random()
    if how < 0.4:
        for _ in range(chance.choice((1, 5, 20))):
            content = damaged_record(content, chance)
    elif how < 0.7:
        content["evil"] = _Touch(marker)
    data = pickle.dumps(content, chance.choice((0, 2, 4)))
    if how > 0.55:
        data = damaged_bytes(data, chance)
    return gzip.compress(data, 1) if chance.random() < 0.1 else data


def _snapshot(chance: random.Random, folder: Path, is_full: bool) -> None:
    """By itself, under a wrong name, or beside the facts."""
    marker = folder / "unpickled"
    data = damaged_snapshot(chance, marker)
    names = "snapshot.pickle", "snapshot.pt", "a.pt.trace.json", "a.pt.trace.json.gz", "t.log"
    path = folder / chance.choice((names[0],) * 4 + names)
    path.write_bytes(data)
    if is_full:
        shutil.copytree(DEMO_FACTS, folder / "run")
        shutil.copy(path, folder / "run" / path.name)
        _report(folder, folder / "run")
        _memory_report(folder, path)
    elif path.suffix == ".pickle":
        _read(lambda: _analyse_snapshot(path))
    else:
        _read(lambda: load_run([path]))
    assert not marker.exists(), "a pickle was run"


def _analyse_snapshot(path: Path) -> None:
    """What is held is held by someone."""
    for device in analyse_snapshot(read_snapshot(path)):
        shown = sum(place.size_bytes for place in device.places)
        assert shown == device.held_bytes or (
            shown < device.held_bytes and len(device.places) == TOP
        )


def _memory_report(folder: Path, path: Path) -> None:
    page = folder / "memory.html"
    code = run_tool("tool", lambda _: diagnose_memory.main([str(path), "--html", str(page)]))
    assert code in (0, 2, 3), f"exit code {code} of diagnose_memory.py"
    if page.exists():
        assert SCRIPT not in page.read_text("utf-8"), "a script of the input is in the page"


def _config(chance: random.Random, folder: Path, is_full: bool) -> None:
    source = chance.choice(CONFIGS)
    if chance.random() < 0.5:
        record = yaml.safe_load(source.read_text())
        for _ in range(chance.choice((1, 2, 8))):
            record = damaged_record(record, chance)
        text = yaml.safe_dump(record, allow_unicode=chance.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    else:
        text = damaged_bytes(source.read_bytes(), chance)
    path = folder / "config.yaml"
    path.write_bytes(text)
    _read(lambda: load_config(path, chance.choice(((), ("TRAIN.TOTAL_STEPS=3",), ("A.B=[",)))))
    if is_full:
        code = run_tool("tool", lambda _: diagnose_memory.main(["--config", str(path)]))
        assert code in (0, 1, 2, 3), f"exit code {code} of diagnose_memory.py"


KINDS: dict[str, Callable[[random.Random, Path, bool], None]] = {
    "log": _log,
    "trace": _trace,
    "facts": _facts,
    "snapshot": _snapshot,
    "config": _config,
}
