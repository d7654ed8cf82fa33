"""PCIe throughput of GPUs without GPM, measured beside the sampler's grid.

NVML counts bytes for 20 ms while the caller waits, once for each direction: two calls take 40 ms a
GPU. A thread of its own makes them, seldom; a sample holds a figure that has come in since the
last one, and most samples hold none.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pynvml

from vrtspike.profiling.nvml_fields import UNSUPPORTED, Nvml

PCIE_EVERY_S = 2.0
_KIB = 1024
_COUNTERS = {
    "pcie_tx_bytes_per_s": pynvml.NVML_PCIE_UTIL_TX_BYTES,
    "pcie_rx_bytes_per_s": pynvml.NVML_PCIE_UTIL_RX_BYTES,
}
FIELDS = tuple(_COUNTERS)


def read_pcie(nvml: Nvml, gpu: Any) -> dict[str, float] | None:
    """Both directions in bytes a second; None where the driver does not tell.

    Raises:
        pynvml.NVMLError: it does not tell this time.
    """
    try:
        return {
            name: float(nvml.nvmlDeviceGetPcieThroughput(gpu, counter) * _KIB)
            for name, counter in _COUNTERS.items()
        }
    except pynvml.NVMLError as error:
        if error.value in UNSUPPORTED:
            return None
        raise


class PcieThread:
    """Measures the GPUs in turn until it is closed.

    Args:
        nvml: The pynvml module, or a stand-in for it.
        gpus: Handle by the key under which `take` gives the figures.
        wait: Waits so many seconds, or until the event is set; replaced in tests.
    """

    def __init__(
        self,
        nvml: Nvml,
        gpus: Mapping[Any, Any],
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._nvml = nvml
        self._gpus = dict(gpus)
        self._wait = wait
        self.untold: set[Any] = set()
        """Keys of the GPUs whose driver does not tell."""
        self._fresh: dict[Any, dict[str, float]] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pcie", daemon=True)
        if self._gpus:
            self._thread.start()

    def take(self, key: Any) -> dict[str, float]:
        """What has come in for a GPU since the last call."""
        with self._lock:
            return self._fresh.pop(key, {})

    def close(self, timeout_s: float = 1.0) -> bool:
        """Ends the measuring; False when a call into the driver does not come back."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._gpus and not self._ending.is_set():
            for key in tuple(self._gpus):
                self._measure(key)
            self._wait(self._ending, PCIE_EVERY_S)

    def _measure(self, key: Any) -> None:
        try:
            found = read_pcie(self._nvml, self._gpus[key])
        except pynvml.NVMLError:
            return  # the sampler itself notices a GPU that is gone, and says so
        if found is None:
            del self._gpus[key]
            self.untold.add(key)
            return
        with self._lock:
            self._fresh[key] = found
