"""GPUs through NVML, and one sample of the whole machine; needs no PyTorch.

The only module that imports pynvml. A field that the driver does not support is null; a GPU that
stops answering is a fact of the record, not a failure of the sampler.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pynvml

from vrtspike.profiling.clock import Clock
from vrtspike.profiling.host_load import HostLoad
from vrtspike.profiling.process_tree import ProcessTree
from vrtspike.profiling.records import GpuRecord, ResourceRecord

_Field = Callable[[Any, Any], float | int | str | None]


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


_FIELDS: dict[str, _Field] = {
    "util_percent": lambda nvml, gpu: float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu),
    "memory_used_bytes": lambda nvml, gpu: int(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
    "memory_total_bytes": lambda nvml, gpu: int(nvml.nvmlDeviceGetMemoryInfo(gpu).total),
    "power_w": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "power_limit_w": lambda nvml, gpu: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
    "temperature_c": lambda nvml, gpu: float(
        nvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU)
    ),
    "sm_clock_mhz": lambda nvml, gpu: float(nvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)),
    "memory_clock_mhz": lambda nvml, gpu: float(
        nvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM)
    ),
    "throttle_reasons": lambda nvml, gpu: int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)),
}

_UNSUPPORTED = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
)


class _Gpu:
    """One GPU: its handle, its name, and what it cannot tell."""

    def __init__(self, nvml: Any, index: int) -> None:
        self._nvml = nvml
        self._index = index
        self._handle: Any = None
        self._uuid: str | None = None
        self._name: str | None = None
        self._error: str | None = None
        self._fields = dict(_FIELDS)
        try:
            self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
            self._uuid = _text(nvml.nvmlDeviceGetUUID(self._handle))
            self._name = _text(nvml.nvmlDeviceGetName(self._handle))
        except pynvml.NVMLError as error:
            self._error = str(error)

    def sample(self) -> GpuRecord:
        self._error = None if self._handle is not None else self._error
        values = {name: self._read(name) for name in tuple(self._fields)}
        return GpuRecord(
            index=self._index, uuid=self._uuid, name=self._name, error=self._error, **values
        )

    def _read(self, name: str) -> Any:
        if self._error is not None:
            return None
        try:
            return self._fields[name](self._nvml, self._handle)
        except pynvml.NVMLError as error:
            if error.value in _UNSUPPORTED:
                del self._fields[name]
            else:
                self._error = str(error)
            return None


class Gpus:
    """Every GPU of the machine; `absent_reason` says why there is none.

    Args:
        nvml: The pynvml module, or a stand-in for it.
    """

    def __init__(self, nvml: ModuleType | Any = pynvml) -> None:
        self.absent_reason: str | None = None
        self._nvml = nvml
        self._gpus: list[_Gpu] = []
        try:
            nvml.nvmlInit()
            count = nvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            self.absent_reason = str(error)
            return
        self._gpus = [_Gpu(nvml, index) for index in range(count)]
        if not self._gpus:
            self.absent_reason = "the driver lists no GPU"

    def sample(self) -> tuple[GpuRecord, ...] | None:
        """One record for each GPU, or None where there is none."""
        return tuple(gpu.sample() for gpu in self._gpus) or None

    def close(self) -> None:
        """Lets go of NVML."""
        if self._gpus:
            self._nvml.nvmlShutdown()
            self._gpus = []


class Machine:
    """Samples host, process tree and GPUs together."""

    def __init__(self, tree: ProcessTree, gpus: Gpus, clock: Clock) -> None:
        self._host = HostLoad()
        self._tree = tree
        self._gpus = gpus
        self._clock = clock

    def sample(self, *, with_pss: bool) -> ResourceRecord:
        """One record; `with_pss` reads the costly proportional memory of every process too."""
        return ResourceRecord(
            at_unix_s=self._clock.unix_s(),
            host=self._host.sample(),
            processes=self._tree.sample(with_pss=with_pss),
            gpus=self._gpus.sample(),
            gpus_absent_reason=self._gpus.absent_reason,
        )


def gpu_absence(nvml: ModuleType | Any = pynvml) -> str | None:
    """Why this machine has no NVIDIA GPU to sample, or None if it has one."""
    gpus = Gpus(nvml)
    reason = gpus.absent_reason
    gpus.close()
    return reason
