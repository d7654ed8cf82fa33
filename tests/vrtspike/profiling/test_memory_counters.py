"""What the kernel counts about memory that ran out, in both versions of control groups."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vrtspike.profiling.memory_counters import MemoryCounters, read_memory_counters

GIB = 1 << 30


@pytest.fixture
def kernel(tmp_path: Path):
    def make(membership: str, files: dict[str, str], vmstat: str = "pgpgin 1\noom_kill 4\n"):
        for name, text in files.items():
            path = tmp_path / "cg" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "self").write_text(membership)
        (tmp_path / "vmstat").write_text(vmstat)
        (tmp_path / "boot").write_text("1b2c\n")
        return read_memory_counters(
            root=tmp_path / "cg",
            membership=tmp_path / "self",
            vmstat=tmp_path / "vmstat",
            boot_id=tmp_path / "boot",
        )

    return make


def test_version_1_counts_victims_where_they_were_and_hits_where_the_limit_is(kernel) -> None:
    counters = kernel(
        "4:memory:/job/step\n0::/\n",
        {
            "memory/job/step/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            "memory/job/step/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/job/memory.oom_control": "oom_kill 0\n",
            "memory/job/memory.limit_in_bytes": f"{2 * GIB}\n",
            "memory/job/memory.failcnt": "7\n",
            "memory/job/memory.max_usage_in_bytes": f"{2 * GIB}\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    number = counters.cgroup_id
    assert isinstance(number, int)
    assert counters == MemoryCounters(
        boot_id="1b2c",
        oom_kills=4,
        cgroup_version=1,
        cgroup_path="/job/step",
        cgroup_id=number,
        cgroup_oom_kills=2,
        limit_path="/job",
        limit_bytes=2 * GIB,
        limit_hits=7,
        peak_bytes=2 * GIB,
    )


def test_version_2_counts_what_happened_at_the_limit_itself(kernel) -> None:
    counters = kernel(
        "0::/pod/box\n",
        {
            "pod/box/memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n",
            "pod/box/memory.max": "max\n",
            "pod/memory.events": "low 0\nhigh 0\nmax 90\noom 6\noom_kill 5\n",
            "pod/memory.events.local": "low 0\nhigh 0\nmax 12\noom 1\noom_kill 0\n",
            "pod/memory.max": f"{GIB}\n",
            "pod/memory.peak": f"{GIB - 4096}\n",
        },
    )
    assert (counters.cgroup_path, counters.cgroup_oom_kills) == ("/pod/box", 1)
    assert (counters.limit_path, counters.limit_bytes) == ("/pod", GIB)
    assert (counters.limit_hits, counters.limit_ooms) == (12, 1)
    assert counters.peak_bytes == GIB - 4096


def test_what_the_kernel_does_not_tell_is_none(kernel) -> None:
    assert kernel("", {}, vmstat="pgpgin 1\n") == MemoryCounters(boot_id="1b2c")
    seen = kernel("0::/gone\n", {"cgroup.controllers": "memory\n"})
    assert (seen.cgroup_path, seen.cgroup_oom_kills, seen.limit_path) == ("/", None, None)


SAMPLED = """
import os, sys, time
from pathlib import Path
from vrtspike.profiling.sampler_process import SamplerProcess
sampler = SamplerProcess(Path(sys.argv[1]), 0.05, redact=sys.argv[2] == "redact")
while not Path(sys.argv[1]).exists() or Path(sys.argv[1]).read_text().count("resources") < 2:
    time.sleep(0.01)
print(sampler.pid, flush=True)
if sys.argv[3] == "killed":
    os.kill(os.getpid(), 9)
sampler.stop()
"""


def moments(path: Path) -> list[dict[str, object]]:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [each["values"] for each in records if each.get("name") == "memory_counters"]


@pytest.mark.parametrize(("end", "last"), [("stopped", "end"), ("killed", "trainer_gone")])
def test_the_sampler_writes_them_at_the_start_and_after_the_end(
    tmp_path: Path, end: str, last: str
) -> None:
    path = tmp_path / "resources.host.jsonl"
    trainer = subprocess.run(
        [sys.executable, "-c", SAMPLED, str(path), "plain", end],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert trainer.returncode == (0 if end == "stopped" else -9), trainer.stderr
    sampler = int(trainer.stdout)
    until = time.monotonic() + 20.0
    while psutil.pid_exists(sampler) and len(moments(path)) < 2:  # it is no child of ours
        assert time.monotonic() < until, "the sampler does not end"
        time.sleep(0.01)
    first, after = moments(path)
    assert (first["moment"], after["moment"]) == ("start", last)
    assert first["boot_id"] == after["boot_id"]


def test_a_redacted_run_names_no_group(tmp_path: Path) -> None:
    path = tmp_path / "resources.host.jsonl"
    subprocess.run(
        [sys.executable, "-c", SAMPLED, str(path), "redact", "stopped"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    for values in moments(path):
        assert values["cgroup_path"] in (None, "<path>")
