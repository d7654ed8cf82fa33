"""Reading a machine: invented /proc and cgroup trees, and the machine the tests run on."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from diagnostics.parsers.machine import HostSources, read_host

KIB, MIB, GIB = 1024, 1024**2, 1024**3
MEMINFO = "MemTotal: 65536 kB\nMemAvailable: 32768 kB\nSwapTotal: 1024 kB\nSwapFree: 256 kB\n"


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def sources(root: Path, **changes: object) -> HostSources:
    shm = SimpleNamespace(f_blocks=1000, f_bfree=750, f_frsize=4096)
    kept = {
        "root": root,
        "statvfs": lambda _: shm,
        "is_mount": lambda _: True,
        "affinity": lambda: 6,
        "cores_online": lambda: 8,
    }
    return HostSources(**(kept | changes))  # type: ignore[arg-type]


def test_meminfo_and_shm_are_read_in_bytes(tmp_path: Path) -> None:
    host = read_host(sources(put(tmp_path, {"proc/meminfo": MEMINFO})))
    assert host.ram_total_bytes == 64 * MIB
    assert host.ram_available_bytes == 32 * MIB
    assert (host.swap_total_bytes, host.swap_used_bytes) == (MIB, 768 * KIB)
    assert (host.shm_total_bytes, host.shm_used_bytes) == (1000 * 4096, 250 * 4096)
    assert (host.cores_online, host.cores_affinity, host.cores_quota) == (8, 6, None)


@pytest.mark.parametrize("name", ["ram_total_bytes", "ram_available_bytes", "swap_used_bytes"])
def test_what_cannot_be_read_is_none_with_its_reason(tmp_path: Path, name: str) -> None:
    host = read_host(sources(tmp_path))
    assert getattr(host, name) is None
    assert "/proc/meminfo" in host.unknown[name]


def test_every_none_has_a_reason(tmp_path: Path) -> None:
    host = read_host(sources(tmp_path, is_mount=lambda _: False, affinity=lambda: None))
    without_limit = {"cgroup_version", "cores_quota"}  # none is the answer there, not a gap
    nones = {name for name, value in vars(host).items() if value is None} - without_limit
    assert nones == set(host.unknown)


def test_a_machine_without_shared_memory_says_so(tmp_path: Path) -> None:
    host = read_host(sources(tmp_path, is_mount=lambda _: False))
    assert host.shm_total_bytes is None
    assert "/dev/shm" in host.unknown["shm_total_bytes"]


def test_a_refused_shared_memory_says_why(tmp_path: Path) -> None:
    def refuse(_: Path) -> object:
        raise PermissionError(13, "Permission denied")

    host = read_host(sources(tmp_path, statvfs=refuse))
    assert "Permission denied" in host.unknown["shm_used_bytes"]


def cgroup_v2(root: Path, path: str = "/") -> Path:
    return put(root, {"proc/meminfo": MEMINFO, "proc/self/cgroup": f"0::{path}\n"})


def test_version_2_takes_the_smallest_limit_of_the_ancestors(tmp_path: Path) -> None:
    root = cgroup_v2(tmp_path, "/slice/job")
    put(
        root / "sys/fs/cgroup",
        {
            "slice/memory.max": f"{16 * MIB}\n",
            "slice/memory.current": f"{9 * MIB}\n",
            "slice/memory.stat": f"anon 5\ninactive_file {MIB}\n",
            "slice/cpu.max": "250000 100000\n",
            "slice/job/memory.max": "max\n",
            "slice/job/memory.current": f"{3 * MIB}\n",
            "slice/job/cpu.max": "max 100000\n",
        },
    )
    host = read_host(sources(root))
    assert host.cgroup_version == 2
    assert host.cgroup_limit_bytes == 16 * MIB
    assert host.cgroup_used_bytes == 8 * MIB
    assert host.cores_quota == 2.5


@pytest.mark.parametrize("path", ["/", "/docker/f00", "/../../outside"])
def test_version_2_inside_a_container_reads_the_mounts_top(tmp_path: Path, path: str) -> None:
    root = cgroup_v2(tmp_path, path)
    put(root / "sys/fs/cgroup", {"memory.max": str(4 * MIB), "memory.current": str(MIB)})
    host = read_host(sources(root))
    assert (host.cgroup_limit_bytes, host.cgroup_used_bytes) == (4 * MIB, MIB)


def test_version_1_is_read_beside_an_empty_version_2(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": str(8 * MIB),
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": str(6 * MIB),
            "sys/fs/cgroup/memory/job/memory.stat": f"cache 1\ntotal_inactive_file {2 * MIB}\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        },
    )
    host = read_host(sources(tmp_path))
    assert host.cgroup_version == 1
    assert (host.cgroup_limit_bytes, host.cgroup_used_bytes) == (8 * MIB, 4 * MIB)
    assert host.cores_quota == 3.0


@pytest.mark.parametrize("limit", ["9223372036854771712", "max", "garbage", str(64 * MIB)])
def test_a_limit_that_binds_nothing_is_no_limit(tmp_path: Path, limit: str) -> None:
    root = cgroup_v2(tmp_path)
    put(root / "sys/fs/cgroup", {"memory.max": limit, "memory.current": "5"})
    host = read_host(sources(root))
    assert host.cgroup_limit_bytes is None
    assert "no limit" in host.unknown["cgroup_limit_bytes"]


def test_version_1_without_a_quota(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "2:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert read_host(sources(tmp_path)).cores_quota is None


def test_this_machine_can_be_read() -> None:
    host = read_host()
    assert host.ram_total_bytes is not None
    assert host.ram_available_bytes is not None
    assert 0 < host.ram_available_bytes <= host.ram_total_bytes
    assert host.cores_online == os.cpu_count()


def test_only_what_is_missing_is_called_missing(tmp_path: Path) -> None:
    text = "\n".join(line for line in MEMINFO.splitlines() if not line.startswith("MemAvailable"))
    host = read_host(sources(put(tmp_path, {"proc/meminfo": text})))
    assert host.ram_available_bytes is None
    assert "has no MemAvailable" in host.unknown["ram_available_bytes"]
    assert host.ram_total_bytes is not None
    assert "ram_total_bytes" not in host.unknown
