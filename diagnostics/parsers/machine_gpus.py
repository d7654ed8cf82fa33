"""GPUs through NVML (the module `pynvml`); every missing answer has its reason."""

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from diagnostics.language import say
from diagnostics.machine import GpuState, GpuStates

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


def read_gpus(nvml: Any | None = None) -> GpuStates:
    """Name, memory and utilisation of every GPU.

    Args:
        nvml: a module with the interface of `pynvml`; None imports the installed one.
    """
    nvml = nvml or _import_nvml()
    if nvml is None:
        return GpuStates(absent_reason="GPUs cannot be read: pynvml is missing (nvidia-ml-py)")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return GpuStates(absent_reason=_start_failure(nvml, error))
    try:
        count = nvml.nvmlDeviceGetCount()
        gpus = tuple(_read_gpu(nvml, index) for index in range(count))
    except nvml.NVMLError as error:
        return GpuStates(absent_reason=say("GPUs cannot be read: {error}", error=error))
    finally:
        _shut_down(nvml)
    return GpuStates(gpus=gpus, absent_reason=None if gpus else NO_GPU)


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
    if memory is None:
        unknown |= dict.fromkeys(("memory_total_bytes", "memory_used_bytes"), unknown["memory"])
    return GpuState(
        index=index,
        name=_text(ask("name", lambda: nvml.nvmlDeviceGetName(handle))),
        uuid=_text(ask("uuid", lambda: nvml.nvmlDeviceGetUUID(handle))),
        memory_total_bytes=None if memory is None else int(memory.total),
        memory_used_bytes=None if memory is None else int(memory.used),
        util_percent=None if util is None else float(util.gpu),
        unknown=unknown,
    )


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):  # older bindings return bytes
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
