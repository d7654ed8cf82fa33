"""GPUs through an invented NVML."""

from types import SimpleNamespace
from typing import Any

import pytest

from diagnostics.parsers.machine_gpus import read_gpus


class NvmlError(Exception):
    def __init__(self, value: int, text: str = "an NVML error") -> None:
        super().__init__(text)
        self.value = value


class FakeNvml:
    """NVML's interface as `pynvml` offers it; `failures` maps a function to what it raises."""

    NVMLError = NvmlError
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
    NVML_ERROR_NO_PERMISSION = 4

    def __init__(self, count: int = 1, failures: dict[str, Exception] | None = None) -> None:
        self.count, self.failures, self.is_open = count, failures or {}, False

    def answer(self, question: str, value: Any) -> Any:
        if question in self.failures:
            raise self.failures[question]
        return value

    def nvmlInit(self) -> None:  # noqa: N802
        self.answer("init", None)
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return int(self.answer("count", self.count))

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        return self.answer("handle", index)

    def nvmlDeviceGetName(self, handle: Any) -> Any:  # noqa: N802
        return self.answer("name", b"Some GPU")

    def nvmlDeviceGetUUID(self, handle: Any) -> Any:  # noqa: N802
        return self.answer("uuid", f"GPU-{handle}")

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        return self.answer("memory", SimpleNamespace(total=48 * 2**30, used=(handle + 1) * 2**30))

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:  # noqa: N802
        return self.answer("util", SimpleNamespace(gpu=37))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any:  # noqa: N802
        held = SimpleNamespace(pid=4200 + handle, usedGpuMemory=2**30)
        return self.answer("processes", [held, SimpleNamespace(pid=7, usedGpuMemory=None)])


def test_every_gpu_is_read_and_nvml_closed() -> None:
    nvml = FakeNvml(count=2)
    states = read_gpus(nvml)
    assert [gpu.memory_used_bytes for gpu in states.gpus] == [2**30, 2 * 2**30]
    assert states.gpus[1].name == "Some GPU"
    assert states.gpus[1].util_percent == 37.0
    assert states.absent_reason is None
    assert not nvml.is_open


def test_no_gpu_is_an_answer() -> None:
    states = read_gpus(FakeNvml(count=0))
    assert (states.gpus, states.absent_reason) == ((), "no NVIDIA GPU")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (FakeNvml.NVML_ERROR_LIBRARY_NOT_FOUND, "not installed"),
        (FakeNvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded"),
        (FakeNvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "different versions"),
        (FakeNvml.NVML_ERROR_NO_PERMISSION, "may not ask"),
        (999, "something new"),
    ],
)
def test_a_driver_that_does_not_start_says_why(code: int, said: str) -> None:
    states = read_gpus(FakeNvml(failures={"init": NvmlError(code, "something new")}))
    assert states.gpus == ()
    assert said in (states.absent_reason or "")


def test_a_field_that_cannot_be_read_is_none_with_its_reason() -> None:
    failures: dict[str, Exception] = {
        "util": NvmlError(3, "Not Supported"),
        "memory": NvmlError(4, "Insufficient Permissions"),
    }
    gpu = read_gpus(FakeNvml(failures=failures)).gpus[0]
    assert (gpu.util_percent, gpu.memory_total_bytes, gpu.name) == (None, None, "Some GPU")
    assert gpu.unknown["util_percent"] == "Not Supported"
    assert gpu.unknown["memory_used_bytes"] == "Insufficient Permissions"


def test_a_gpu_that_fell_off_the_bus_keeps_its_place() -> None:
    gpu = read_gpus(FakeNvml(failures={"handle": NvmlError(15, "GPU is lost")})).gpus[0]
    assert (gpu.index, gpu.memory_total_bytes) == (0, None)
    assert "lost" in gpu.unknown["handle"]
