"""GPUs through NVML (the module `pynvml`); every missing answer has its reason."""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from diagnostics.language import say
from diagnostics.machine import GpuProcess, GpuState, GpuStates

NO_GPU = "no NVIDIA GPU"

_START_FAILURES: Mapping[str, str] = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": ("no NVIDIA GPU: NVIDIA's driver is not installed here"),
    "NVML_ERROR_DRIVER_NOT_LOADED": ("no NVIDIA GPU: NVIDIA's driver is installed but not loaded"),
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": (
        "GPUs cannot be read: NVIDIA's kernel driver and its library have different versions "
        "(the driver was updated under a running system); restart the machine"
    ),
    "NVML_ERROR_NO_PERMISSION": "GPUs cannot be read: this user may not ask NVIDIA's driver",
}


class GpuDriver:
    """NVML, opened once and asked again and again.

    Args:
        nvml: A module with the interface of `pynvml`; None imports the installed one.
    """

    def __init__(self, nvml: Any | None = None) -> None:
        self._nvml = nvml or _import_nvml()
        self._absent_reason: str | None = None
        if self._nvml is None:
            self._absent_reason = "GPUs cannot be read: pynvml is missing (nvidia-ml-py)"
            return
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            self._absent_reason = _start_failure(self._nvml, error)

    def read(self) -> GpuStates:
        """Name, memory, utilisation and processes of every GPU, now."""
        nvml = self._nvml
        if nvml is None or self._absent_reason is not None:
            return GpuStates(absent_reason=self._absent_reason)
        try:
            count = nvml.nvmlDeviceGetCount()
            gpus = tuple(_read_gpu(nvml, index) for index in range(count))
        except nvml.NVMLError as error:
            return GpuStates(absent_reason=say("GPUs cannot be read: {error}", error=error))
        return GpuStates(gpus=gpus, absent_reason=None if gpus else NO_GPU)

    def close(self) -> None:
        """Lets go of the driver."""
        if self._nvml is not None and self._absent_reason is None:
            _shut_down(self._nvml)


def read_gpus(nvml: Any | None = None) -> GpuStates:
    """Every GPU, read once.

    Args:
        nvml: As of `GpuDriver`.
    """
    driver = GpuDriver(nvml)
    try:
        return driver.read()
    finally:
        driver.close()


def _import_nvml() -> ModuleType | None:
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        return None


def _start_failure(nvml: Any, error: Any) -> str:
    code = getattr(error, "value", None)
    for name, reason in _START_FAILURES.items():
        if code is not None and code == getattr(nvml, name, None):
            return reason
    return say("GPUs cannot be read: {error}", error=error)


def _shut_down(nvml: Any) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return  # nothing was left open that matters to a tool that ends


def _read_gpu(nvml: Any, index: int) -> GpuState:
    unknown: dict[str, str] = {}

    def ask(name: str, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except nvml.NVMLError as error:
            unknown[name] = str(error)
            return None

    handle = ask("handle", lambda: nvml.nvmlDeviceGetHandleByIndex(index))
    if handle is None:
        return GpuState(index=index, unknown=unknown)
    memory = ask("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    util = ask("util_percent", lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    running = ask("processes", lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    if memory is None:
        unknown |= dict.fromkeys(("memory_total_bytes", "memory_used_bytes"), unknown["memory"])
    return GpuState(
        index=index,
        name=_text(ask("name", lambda: nvml.nvmlDeviceGetName(handle))),
        uuid=_text(ask("uuid", lambda: nvml.nvmlDeviceGetUUID(handle))),
        memory_total_bytes=None if memory is None else int(memory.total),
        memory_used_bytes=None if memory is None else int(memory.used),
        util_percent=None if util is None else float(util.gpu),
        processes=None if running is None else tuple(_process(each) for each in running),
        unknown=unknown,
    )


def _process(found: Any) -> GpuProcess:
    """The driver does not tell every user, nor every operating system, how much it is."""
    used = getattr(found, "usedGpuMemory", None)
    return GpuProcess(pid=int(found.pid), used_bytes=None if used is None else int(used))


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):  # older bindings return bytes
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
