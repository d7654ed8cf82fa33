"""GPUs that lack a field, get lost or are not there; container limits; process roles."""

import os
from pathlib import Path

import psutil
import pynvml
import pytest

from vrtspike.profiling.host_load import CgroupMemory, HostLoad, cgroup_memory
from vrtspike.profiling.process_tree import ProcessTree, TreeRoots, tree_resident_bytes
from vrtspike.profiling.resources import Gpus, gpu_absence

GIB = 1024**3


class FakeNvml:
    """One healthy GPU; `failing` maps a function to the NVML error it raises."""

    def __init__(self, count=1, **failing):
        self.count, self.failing, self.calls = count, failing, []

    def __getattr__(self, name):
        values = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": self.count,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetUUID": b"GPU-1",
            "nvmlDeviceGetName": "NVIDIA H100",
            "nvmlDeviceGetUtilizationRates": type("U", (), {"gpu": 93}),
            "nvmlDeviceGetMemoryInfo": type("M", (), {"used": 5 * GIB, "total": 80 * GIB}),
            "nvmlDeviceGetPowerUsage": 312_500,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
            "nvmlDeviceGetTemperature": 61,
            "nvmlDeviceGetClockInfo": 1980,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 4,
        }

        def call(*args):
            self.calls.append(name)
            if name in self.failing:
                raise pynvml.NVMLError(self.failing[name])
            return values[name]

        return call


def test_fields_have_their_units():
    (gpu,) = Gpus(FakeNvml()).sample()
    assert (gpu.uuid, gpu.name, gpu.util_percent) == ("GPU-1", "NVIDIA H100", 93.0)
    assert (gpu.power_w, gpu.power_limit_w) == (312.5, 700.0)
    assert (gpu.memory_used_bytes, gpu.memory_total_bytes) == (5 * GIB, 80 * GIB)
    assert (gpu.temperature_c, gpu.throttle_reasons, gpu.error) == (61.0, 4, None)


def test_a_field_that_is_not_supported_is_null_and_asked_once():
    nvml = FakeNvml(nvmlDeviceGetUtilizationRates=pynvml.NVML_ERROR_NOT_SUPPORTED)
    gpus = Gpus(nvml)
    for _ in range(3):
        (gpu,) = gpus.sample()
        assert gpu.util_percent is None
        assert gpu.power_w == 312.5
        assert gpu.error is None
    assert nvml.calls.count("nvmlDeviceGetUtilizationRates") == 1


def test_a_gpu_that_falls_off_the_bus_is_a_fact_and_may_come_back():
    nvml = FakeNvml()
    gpus = Gpus(nvml)
    nvml.failing = {"nvmlDeviceGetPowerUsage": pynvml.NVML_ERROR_GPU_IS_LOST}
    (gpu,) = gpus.sample()
    assert gpu.error == "GPU is lost"
    assert gpu.power_w is None
    assert gpu.temperature_c is None
    nvml.failing = {}
    assert gpus.sample()[0].error is None


def test_a_gpu_that_cannot_be_opened_is_listed_with_its_error():
    (gpu,) = Gpus(FakeNvml(nvmlDeviceGetHandleByIndex=pynvml.NVML_ERROR_UNKNOWN)).sample()
    assert gpu.error == "Unknown Error"
    assert gpu.util_percent is None


def test_no_driver_and_no_gpu_are_told_apart():
    absent = FakeNvml(nvmlInit=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert gpu_absence(absent) == "NVML Shared Library Not Found"
    assert Gpus(absent).sample() is None
    assert gpu_absence(FakeNvml(count=0)) == "the driver lists no GPU"
    assert gpu_absence(FakeNvml()) is None


@pytest.fixture
def cgroup(tmp_path):
    def make(membership, files):
        for name, text in files.items():
            path = tmp_path / "cg" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "self").write_text(membership)
        return cgroup_memory(64 * GIB, root=tmp_path / "cg", membership=tmp_path / "self")

    return make


def test_the_tightest_limit_of_a_version_2_hierarchy_counts(cgroup):
    found = cgroup(
        "0::/pod/box\n",
        {
            "pod/memory.max": f"{8 * GIB}\n",
            "pod/memory.current": f"{5 * GIB}\n",
            "pod/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n",
            "pod/box/memory.max": "max\n",
            "pod/box/memory.current": "1\n",
        },
    )
    assert found == CgroupMemory(8 * GIB, 3 * GIB)


def test_version_1_has_other_names_and_a_huge_number_for_no_limit(cgroup):
    files = {
        "memory/box/memory.limit_in_bytes": f"{4 * GIB}\n",
        "memory/box/memory.usage_in_bytes": f"{GIB}\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "1\n",
    }
    membership = "12:cpu,cpuacct:/x\n7:memory:/box\n0::/\n"
    assert cgroup(membership, files) == CgroupMemory(4 * GIB, GIB)


def test_a_limit_at_the_hosts_memory_is_none(cgroup):
    files = {"memory.max": f"{64 * GIB}\n", "memory.current": "1\n"}
    assert cgroup("0::/\n", files) is None
    assert cgroup_memory(GIB, membership=Path("/no")) is None


def test_the_first_host_sample_has_no_cpu_use():
    load = HostLoad()
    first, second = load.sample(), load.sample()
    assert first.cpu_percent is None
    assert second.cpu_percent is not None
    assert first.ram_total_bytes == psutil.virtual_memory().total
    assert first.cpus_allowed == len(os.sched_getaffinity(0))


def test_a_tree_that_is_gone_is_empty():
    tree = ProcessTree(TreeRoots(root_pid=2**22 - 3, main_pid=1))
    assert tree.sample() == ()
    assert tree_resident_bytes(2**22 - 3) == 0


def test_shared_pages_count_once_where_the_kernel_tells():
    assert tree_resident_bytes(os.getpid(), pss=lambda process: 7) % 7 == 0
    rss = psutil.Process().memory_info().rss
    assert tree_resident_bytes(os.getpid(), pss=lambda process: None) >= rss * 0.5


def test_ranks_below_a_launcher_are_all_main():
    me = os.getpid()
    tree = ProcessTree(TreeRoots(root_pid=os.getppid(), main_pid=2**22 - 3))
    roles = {record.pid: record.role for record in tree.sample()}
    assert roles[os.getppid()] == "other"
    assert roles[me] == "main"
