"""What is asked of a GPU through NVML, in which units, and which answers are no fault.

Sources of the units: NVML API reference, "Device Queries" (milliwatts, millijoules, MHz, KB/s).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pynvml

Nvml = ModuleType | Any
"""The pynvml module, or a stand-in for it."""

Values = Mapping[str, Any]

UNSUPPORTED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    pynvml.NVML_ERROR_DEPRECATED,
)
"""The driver will not answer this question, today or later."""

PASSING = (
    pynvml.NVML_ERROR_NO_DATA,
    pynvml.NVML_ERROR_NOT_READY,
    pynvml.NVML_ERROR_TIMEOUT,
    pynvml.NVML_ERROR_IN_USE,
)
"""No answer this time; the GPU is well."""


GONE = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
)
"""The GPU, or its whole driver, is gone: further questions are in vain."""


@dataclass(frozen=True)
class Question:
    """One call, and the fields of a `GpuRecord` that its answer fills."""

    fields: tuple[str, ...]
    ask: Callable[[Nvml, Any], Values]


def text(value: bytes | str) -> str:
    """A text of NVML; older bindings return bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _utilization(nvml: Nvml, gpu: Any) -> Values:
    rates = nvml.nvmlDeviceGetUtilizationRates(gpu)
    return {"util_percent": float(rates.gpu), "memory_util_percent": float(rates.memory)}


def _memory(nvml: Nvml, gpu: Any) -> Values:
    memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
    return {"memory_used_bytes": int(memory.used), "memory_total_bytes": int(memory.total)}


def _temperature(nvml: Nvml, gpu: Any) -> Values:
    found = nvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
    return {"temperature_c": float(found)}


def _clock(field: str, domain: int) -> Question:
    def ask(nvml: Nvml, gpu: Any) -> Values:
        return {field: float(nvml.nvmlDeviceGetClockInfo(gpu, domain))}

    return Question((field,), ask)


def _throttle_reasons(nvml: Nvml, gpu: Any) -> Values:
    try:
        reasons = nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        # The same call under the name that drivers before 535 know.
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
    return {"throttle_reasons": int(reasons)}


MEMORY = Question(("memory_used_bytes", "memory_total_bytes"), _memory)

QUESTIONS = (
    Question(("util_percent", "memory_util_percent"), _utilization),
    MEMORY,
    Question(("power_w",), lambda nvml, gpu: {"power_w": nvml.nvmlDeviceGetPowerUsage(gpu) / 1000}),
    Question(
        ("power_limit_w",),
        lambda nvml, gpu: {"power_limit_w": nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000},
    ),
    Question(
        ("energy_j",),
        lambda nvml, gpu: {"energy_j": nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000},
    ),
    Question(("temperature_c",), _temperature),
    _clock("sm_clock_mhz", pynvml.NVML_CLOCK_SM),
    _clock("memory_clock_mhz", pynvml.NVML_CLOCK_MEM),
    Question(("throttle_reasons",), _throttle_reasons),
)
"""Of a whole GPU. An instance of a divided one answers for its memory alone."""
