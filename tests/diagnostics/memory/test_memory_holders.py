"""What holds memory beside the processes: page cache, GPUs' processes, pinning; and who waits."""

from dataclasses import replace
from pathlib import Path

import pytest

from diagnostics.analyses.machine_jobs import Job
from diagnostics.machine import GpuProcess, GpuState, GpuStates
from diagnostics.parsers.machine import read_host
from diagnostics.parsers.machine_gpus import GpuDriver, read_gpus
from diagnostics.parsers.machine_pressure import read_group_pressure, read_pressure
from diagnostics.parsers.machine_processes import list_processes, read_processes
from tests.diagnostics.memory.test_machine import MEMINFO, put, sources
from tests.diagnostics.memory.test_machine_gpus import FakeNvml, NvmlError
from tests.diagnostics.memory.test_memory_report import HOST, member, report, text_of

MIB, GIB = 1 << 20, 1 << 30
STALLS = "some avg10=2.50 avg60=9 avg300=9 total=7\nfull avg10=0.50 avg60=0 avg300=0 total=1\n"


def words(text: str) -> str:
    return " ".join(text.split())


def test_shared_memory_is_no_page_cache(tmp_path: Path) -> None:
    files = {"proc/meminfo": MEMINFO + "Cached: 900 kB\nBuffers: 100 kB\nShmem: 400 kB\n"}
    host = read_host(sources(put(tmp_path, files)))
    assert (host.page_cache_bytes, host.shmem_bytes) == (600 * 1024, 400 * 1024)


def test_the_containers_cache_is_what_its_use_leaves_out(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": str(8 * MIB),
        "sys/fs/cgroup/memory.current": str(5 * MIB),
        "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {2 * MIB}\n",
    }
    host = read_host(sources(put(tmp_path, files)))
    assert (host.cgroup_used_bytes, host.cgroup_cache_bytes) == (3 * MIB, 2 * MIB)


def test_pressure_is_that_of_the_last_ten_seconds(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/pressure/memory": STALLS,
            "proc/pressure/io": "some avg10=x\nodd\n",
            "proc/self/cgroup": "0::/box\n",
            "sys/fs/cgroup/box/memory.pressure": STALLS.replace("2.50", "80.00"),
        },
    )
    assert read_pressure(tmp_path) == {"memory_some": 0.025, "memory_full": 0.005}
    assert read_group_pressure(tmp_path) == {"memory_some": 0.8, "memory_full": 0.005}
    assert read_pressure(tmp_path / "nowhere") == read_group_pressure(tmp_path / "nowhere") == {}


def test_cache_and_waiting_are_shown_apart() -> None:
    host = replace(
        HOST,
        page_cache_bytes=6 * GIB,
        shmem_bytes=GIB,
        cgroup_cache_bytes=2 * GIB,
        stall_share={"memory_full": 0.125, "io_some": 0.0},
    )
    text = words(text_of(report(host=host)))
    assert "Apart from it: 6.00 GiB of files" in text
    assert "of it the container's: 2.00 GiB; all shared memory is 1.00 GiB" in text
    assert "Waiting now, on the machine: all for memory 12.5% of the last 10 s." in text
    assert "some task for a disk" not in text


def test_the_processes_of_a_gpu_are_read_and_one_that_does_not_tell_is_unknown() -> None:
    (gpu,) = read_gpus(FakeNvml()).gpus
    assert gpu.processes == (GpuProcess(pid=4200, used_bytes=GIB), GpuProcess(pid=7))
    (gpu,) = read_gpus(FakeNvml(failures={"processes": NvmlError(3, "not for you")})).gpus
    assert (gpu.processes, gpu.unknown) == (None, {"processes": "not for you"})


def test_a_driver_is_opened_once_for_many_readings() -> None:
    nvml = FakeNvml()
    driver = GpuDriver(nvml)
    assert driver.read() == driver.read()
    assert nvml.is_open
    driver.close()
    assert not nvml.is_open
    absent = GpuDriver(FakeNvml(failures={"init": NvmlError(12)}))
    assert absent.read().absent_reason == "no NVIDIA GPU: NVIDIA's driver is not installed here"
    absent.close()


GPU = GpuState(
    index=0,
    name="Some GPU",
    processes=(GpuProcess(pid=11, used_bytes=3 * GIB), GpuProcess(pid=5, used_bytes=GIB)),
)


def test_gpu_memory_is_shown_by_process() -> None:
    job = Job(root_pid=10, members=(member(10), member(11, rank=1)))
    text = text_of(report(gpus=GpuStates(gpus=(GPU,)), jobs=(job,)))
    rows = [line.split() for line in text.splitlines()]
    assert ["0", "11", "main", "of", "rank", "1", "3.00", "GiB"] in rows
    assert ["0", "5", "no", "process", "of", "this", "training", "1.00", "GiB"] in rows
    assert "numbers processes otherwise" not in text


def test_numbers_of_another_system_are_said() -> None:
    job = Job(root_pid=10, members=(member(10),))
    text = words(text_of(report(gpus=GpuStates(gpus=(GPU,)), jobs=(job,))))
    assert "inside a container the driver may number processes otherwise" in text


@pytest.mark.parametrize("thread", ["pt_data_pin", "python"])
def test_a_pinning_thread_is_seen_by_its_name(tmp_path: Path, thread: str) -> None:
    rollup = "Rss: 9 kB\nPss: 6 kB\nPss_Shmem: 2 kB\nPrivate_Clean: 1 kB\n"
    put(
        tmp_path,
        {
            "proc/5/stat": "5 (python) S 1 0",
            "proc/5/cmdline": "python\0",
            "proc/5/status": "VmRSS: 9 kB\nVmLck: 4 kB\nVmPin: 3 kB\n",
            "proc/5/smaps_rollup": rollup,
            "proc/5/task/5/comm": "python\n",
            "proc/5/task/6/comm": f"{thread}\n",
        },
    )
    (state,) = read_processes(list_processes(tmp_path), tmp_path)
    assert (state.shm_bytes, state.locked_bytes) == (2048, 7 * 1024)
    assert state.is_pinning == (thread == "pt_data_pin")
    held = Job(root_pid=5, members=(member(5, is_pinning=state.is_pinning, locked_bytes=7 * MIB),))
    said = "process 5 pins batches in a thread of its own" in words(text_of(report(jobs=(held,))))
    assert said == state.is_pinning
