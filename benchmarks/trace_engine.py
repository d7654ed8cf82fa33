"""How fast, and in how much memory, a trace is read and diagnosed; beside other readers.

    python benchmarks/trace_engine.py --source TRACE.json.gz [--gigabytes 1.3] [--hta PYTHON]

The source is repeated with shifted times, correlations and step numbers until it has the wanted
size; a file of that size from an earlier run is used again. Each reader runs in a process of its
own; memory is the anonymous part (`RssAnon`), sampled every 20 ms over the process and its
children. `--hta` names the interpreter of an environment with HolisticTraceAnalysis 0.5.0
(pandas < 3), whose parsing and four analyses are timed in the same run.
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
READERS = {
    "report": [sys.executable, str(ROOT / "analyze_performance.py"), "{trace}", "--json", "-"],
    "parse only": [
        sys.executable, "-c",
        "import sys; from pathlib import Path; "
        "from diagnostics.parsers.trace_file import parse_trace; "
        "print(parse_trace(Path(sys.argv[1])).num_events)",
        "{trace}",
    ],
    "typed decode only": [
        sys.executable, "-c",
        "import gc, sys, msgspec; gc.disable(); "
        "from diagnostics.parsers.trace_events import Event; "
        "S = msgspec.defstruct('S', [('traceEvents', list[Event])]); "
        "print(len(msgspec.json.decode(open(sys.argv[1], 'rb').read(), type=S).traceEvents))",
        "{trace}",
    ],
}  # fmt: skip
HTA = """
import os, shutil, sys, tempfile
from hta.trace_analysis import TraceAnalysis
t = TraceAnalysis(trace_files={0: sys.argv[1]}, trace_dir="")
t.get_temporal_breakdown(visualize=False)
t.get_idle_time_breakdown(ranks=[0], visualize=False)
t.get_gpu_kernel_breakdown(visualize=False)
t.get_comm_comp_overlap(visualize=False)
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    wall_s: float
    cpu_s: float
    peak_anonymous_mib: float
    code: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=1.3)
    parser.add_argument("--hta", help="interpreter with HolisticTraceAnalysis 0.5.0")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--decode", action="store_true", help="also a bare decode of the whole")
    args = parser.parse_args()
    trace = args.work / f"trace_engine_{args.gigabytes:g}.json"
    if not trace.exists():
        replicate(args.source, trace, int(args.gigabytes * 1e9))
    size = trace.stat().st_size
    print(f"{trace}: {size / 1e9:.2f} GB, {count_events(trace)} events of {args.source.name}")
    print("| reader | wall s | CPU s | peak anonymous MiB | MB/s |\n|---|---|---|---|---|")
    names = ["report", "parse only", *(["typed decode only"] if args.decode else [])]
    commands = {name: READERS[name] for name in names}
    if args.hta:
        commands["Holistic Trace Analysis"] = [args.hta, "-c", HTA, "{trace}"]
    for name, command in commands.items():
        cost = run([part.replace("{trace}", str(trace)) for part in command])
        failed = f" (exit code {cost.code})" if cost.code else ""
        print(
            f"| {name}{failed} | {cost.wall_s:.1f} | {cost.cpu_s:.1f} "
            f"| {cost.peak_anonymous_mib:.0f} | {size / 1e6 / cost.wall_s:.0f} |",
            flush=True,
        )


def count_events(trace: Path) -> int:
    with trace.open("rb") as file:
        return sum(line.startswith(b'{"ph"') for line in file)


def replicate(source: Path, target: Path, size: int) -> None:
    """Writes copies of the trace one after the other, under a name of its own until it is whole."""
    opener = gzip.open if source.suffix == ".gz" else open
    with opener(source, "rb") as file:
        document = json.loads(file.read())
    events = [e for e in document["traceEvents"] if e.get("ph") == "X" and "dur" in e]
    length = max(e["ts"] + e["dur"] for e in events) - min(e["ts"] for e in events) + 1000
    head = {key: value for key, value in document.items() if key != "traceEvents"}
    copies = 0
    part = target.with_suffix(".part")
    with part.open("w") as out:
        out.write(json.dumps(head)[:-1] + ', "traceEvents": [\n')
        while out.tell() < size:
            text = ",\n".join(json.dumps(shifted(e, copies, length)) for e in events)
            out.write((",\n" if copies else "") + text)
            copies += 1
        out.write("\n]}\n")
    part.replace(target)


def shifted(event: dict[str, Any], copy: int, length: float) -> dict[str, Any]:
    moved = {**event, "ts": event["ts"] + copy * length}
    args = dict(event.get("args") or {})
    for key in ("correlation", "External id", "external id"):
        if isinstance(args.get(key), int):
            args[key] += copy * 10_000_000
    found = re.match(r"ProfilerStep#(\d+)$", str(event.get("name")))
    if found:
        moved["name"] = f"ProfilerStep#{int(found[1]) + 1000 * copy}"
    return {**moved, "args": args} if args else moved


def run(command: list[str]) -> Cost:
    before = os.times()
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_kib(process.pid))
        time.sleep(0.02)
    spent = os.times()
    cpu = spent.children_user + spent.children_system
    return Cost(
        wall_s=time.perf_counter() - start,
        cpu_s=cpu - before.children_user - before.children_system,
        peak_anonymous_mib=peak / 1024,
        code=process.returncode,
    )


def anonymous_kib(pid: int) -> int:
    """Of a process and its children."""
    total = 0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        status = Path(f"/proc/{pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+)", status)
        total = int(found[1]) if found else 0
    except OSError:
        return 0
    return total + sum(anonymous_kib(int(child)) for child in children)


if __name__ == "__main__":
    main()
