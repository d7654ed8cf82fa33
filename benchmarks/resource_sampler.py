"""What sampling the machine costs, and whether its grid drifts.

    python benchmarks/resource_sampler.py [--seconds S] [--processes N] [--mib M] [--out FILE]

Starts N processes that hold M MiB each, like the loading processes of a run, and samples this
process's tree for S seconds with the real sampler. The figures come from what it wrote: its CPU
time as the kernel counts it, and the distance of every sample from the grid that starts with the
first one.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vrtspike.profiling.sampler_process import SamplerProcess

_HOLD = """
import sys
held = bytearray(int(sys.argv[1]) << 20)
held[::4096] = b"x" * len(held[::4096])  # every page is touched
sys.stdin.read()
"""


def sample(seconds: float, processes: int, mib: int) -> list[dict[str, Any]]:
    """The samples of a tree with so many processes of that size."""
    command = [sys.executable, "-c", _HOLD, str(mib)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(processes)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "resources.host.jsonl"
        sampler = SamplerProcess(out, 0.2)
        time.sleep(seconds)
        sampler.stop()
        lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    for worker in workers:
        worker.communicate()
    return [line for line in lines if line["kind"] == "resources"]


def measure(samples: list[dict[str, Any]], num_bytes: float) -> dict[str, float]:
    """The figures of one run of the sampler."""
    times = np.array([each["at_unix_s"] for each in samples])
    costs = np.array([each["sampler"]["cpu_s"] for each in samples])
    pss = [each["sampler"]["pss_cpu_s"] for each in samples]
    late_ms = 1000 * (times - times[0] - 0.2 * np.round((times - times[0]) / 0.2))
    half = len(late_ms) // 2
    elapsed_s = times[-1] - times[0]
    return {
        "samples": len(samples),
        "elapsed s": elapsed_s,
        "missed": samples[-1]["sampler"]["missed"],
        "CPU, % of a core": 100 * (costs[-1] - costs[0]) / elapsed_s,
        "of it for PSS, % of a core": 100 * (pss[-1] - pss[0]) / elapsed_s,
        "bytes a sample": num_bytes,
        "late, median ms": float(np.median(late_ms)),
        "late, 95 % ms": float(np.quantile(late_ms, 0.95)),
        "drift over the run, ms": float(np.median(late_ms[half:]) - np.median(late_ms[:half])),
    }


def report(rows: dict[str, dict[str, float]]) -> str:
    """A table of the figures with machine and date."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    head = [
        "# The resource sampler: cost and grid",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {platform.machine()}, "
        f"{platform.processor() or 'processor unknown'}, Linux {platform.release()}, "
        f"Python {platform.python_version()}; `python benchmarks/resource_sampler.py`. No GPU.",
        "",
        "| | " + " | ".join(rows) + " |",
        "|---|" + "---:|" * len(rows),
    ]
    names = next(iter(rows.values()))
    body = [
        f"| {name} | " + " | ".join(f"{found[name]:.4g}" for found in rows.values()) + " |"
        for name in names
    ]
    return "\n".join([*head, *body]) + "\n"


def main() -> int:
    """Measures a tree of the demo's size and a large one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 32])
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = {}
    for count in arguments.processes:
        samples = sample(arguments.seconds, count, arguments.mib)
        num_bytes = float(np.mean([len(json.dumps(s, separators=(",", ":"))) for s in samples]))
        rows[f"{count} processes of {arguments.mib} MiB"] = measure(samples, num_bytes)
    text = report(rows)
    sys.stdout.write(text)
    if arguments.out:
        arguments.out.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
