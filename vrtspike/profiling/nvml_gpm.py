"""GPU performance metrics (GPM): how much of a GPU was at work between two samples.

From Hopper on NVML tells what `utilization.gpu`, the share of time in which any kernel ran, does
not: active multiprocessors, occupied warps, tensor cores, memory bandwidth, PCIe and NVLink. It
needs neither root nor DCGM, and its PCIe figures do not block as the older call's do.
"""

import math
from typing import Any

import pynvml

from vrtspike.profiling.nvml_fields import PASSING, UNSUPPORTED, Nvml

_MIB = 1024**2
_METRICS: dict[str, tuple[int, float]] = {
    "util_percent": (pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL, 1),
    "sm_active_percent": (pynvml.NVML_GPM_METRIC_SM_UTIL, 1),
    "sm_occupancy_percent": (pynvml.NVML_GPM_METRIC_SM_OCCUPANCY, 1),
    "tensor_active_percent": (pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL, 1),
    "dram_active_percent": (pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL, 1),
    "pcie_tx_bytes_per_s": (pynvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC, _MIB),
    "pcie_rx_bytes_per_s": (pynvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC, _MIB),
    "nvlink_tx_bytes_per_s": (pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC, _MIB),
    "nvlink_rx_bytes_per_s": (pynvml.NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC, _MIB),
}
FIELDS = tuple(name for name in _METRICS if name != "util_percent")
"""The fields of a `GpuRecord` that nothing else fills, PCIe's aside."""


class Gpm:
    """The metrics of one GPU, or of one of its instances; silent where they are not supported.

    Args:
        nvml: The pynvml module, or a stand-in for it.
        device: The handle of the whole GPU.
        instance_id: Of a divided GPU, which instance.
    """

    def __init__(self, nvml: Nvml, device: Any, instance_id: int | None = None) -> None:
        self._nvml = nvml
        self._device = device
        self._instance_id = instance_id
        self._samples: list[Any] = []
        self._has_first = False
        self._metrics = dict(_METRICS)
        try:
            if nvml.nvmlGpmQueryDeviceSupport(device).isSupportedDevice:
                self._samples = [nvml.nvmlGpmSampleAlloc() for _ in range(2)]
        except pynvml.NVMLError:
            self.close()

    @property
    def is_supported(self) -> bool:
        """Whether it tells anything."""
        return bool(self._samples) and bool(self._metrics)

    def tells(self, field: str) -> bool:
        """Whether it tells this field, as far as is known by now."""
        return self.is_supported and field in self._metrics

    def read(self) -> dict[str, float]:
        """The metrics since the last call; none at the first.

        Raises:
            pynvml.NVMLError: the GPU does not answer.
        """
        if not self.is_supported:
            return {}
        try:
            self._take()
        except pynvml.NVMLError as error:
            self._has_first = False
            if error.value in UNSUPPORTED:
                self.close()
                return {}
            if error.value in PASSING:
                return {}
            raise
        had_first, self._has_first = self._has_first, True
        values = self._values() if had_first else {}
        self._samples.reverse()  # the newer one becomes the start of the next span of time
        return values

    def close(self) -> None:
        """Gives the samples back."""
        samples, self._samples = self._samples, []
        for sample in samples:
            try:
                self._nvml.nvmlGpmSampleFree(sample)
            except pynvml.NVMLError:
                return  # of a driver that is gone, nothing can be given back

    def _take(self) -> None:
        if self._instance_id is None:
            self._nvml.nvmlGpmSampleGet(self._device, self._samples[1])
        else:
            self._nvml.nvmlGpmMigSampleGet(self._device, self._instance_id, self._samples[1])

    def _values(self) -> dict[str, float]:
        query = self._nvml.c_nvmlGpmMetricsGet_t()
        query.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        query.numMetrics = len(self._metrics)
        query.sample1, query.sample2 = self._samples
        for place, (metric, _) in enumerate(self._metrics.values()):
            query.metrics[place].metricId = metric
        self._nvml.nvmlGpmMetricsGet(query)
        values = {}
        for place, (name, (_, scale)) in enumerate(tuple(self._metrics.items())):
            answer = query.metrics[place]
            if answer.nvmlReturn in UNSUPPORTED:
                del self._metrics[name]
            elif answer.nvmlReturn == pynvml.NVML_SUCCESS and math.isfinite(answer.value):
                values[name] = answer.value * scale
        return values
