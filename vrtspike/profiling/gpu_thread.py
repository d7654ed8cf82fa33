"""Asks NVML in a thread of its own: a driver that hangs costs the GPUs' figures, not the samples.

A call into a driver that has lost a GPU may take seconds or never return.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from vrtspike.profiling.nvml_gpus import Gpus
from vrtspike.profiling.records import GpuRecord

HUNG_AFTER_S = 2.0
"""From then on a GPU that has answered before is said not to answer."""

_STOP_PATIENCE_S = 1.5


@dataclass(frozen=True)
class GpuAnswer:
    """Records of one sample; None where there is no GPU, and then the reason."""

    records: tuple[GpuRecord, ...] | None
    absent_reason: str | None = None


class GpuThread:
    """Samples GPUs on request.

    Args:
        open_gpus: Makes what is asked, in the thread: opening the driver may hang as well.
        now_s: A steady clock in seconds.
    """

    def __init__(
        self, open_gpus: Callable[[], Gpus], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_gpus = open_gpus
        self._now_s = now_s
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[GpuAnswer] = queue.SimpleQueue()
        self._asked_s: float | None = None
        self._is_absent = False
        self._last = GpuAnswer(None, "NVML has not answered yet")
        self._thread = threading.Thread(target=self._run, name="nvml", daemon=True)
        self._thread.start()

    def request(self) -> None:
        """Asks for a sample, unless one is still awaited or there is no GPU."""
        if self._asked_s is None and not self._is_absent:
            self._asked_s = self._now_s()
            self._requests.put(True)

    def result(self, patience_s: float) -> GpuAnswer:
        """The sample that was asked for.

        When it does not come in time, the answer holds no record; after `HUNG_AFTER_S`, it holds
        the GPUs known so far with an error each.
        """
        if self._is_absent:
            return self._last
        try:
            self._last = self._answers.get(timeout=patience_s)
        except queue.Empty:
            return self._late()
        self._asked_s = None
        self._is_absent = self._last.records is None
        return self._last

    def close(self) -> None:
        """Ends the thread; one that hangs in the driver is left behind."""
        self._requests.put(False)
        self._thread.join(_STOP_PATIENCE_S)

    def _late(self) -> GpuAnswer:
        known, waited_s = self._last.records, self._now_s() - (self._asked_s or self._now_s())
        if known is None:
            return self._last
        if waited_s < HUNG_AFTER_S:
            return GpuAnswer(())
        error = "NVML does not answer"
        blank = (GpuRecord(index=each.index, mig_index=each.mig_index) for each in known)
        return GpuAnswer(
            tuple(
                replace(
                    record,
                    uuid=each.uuid,
                    parent_uuid=each.parent_uuid,
                    name=each.name,
                    error=error,
                )
                for record, each in zip(blank, known, strict=True)
            )
        )

    def _run(self) -> None:
        gpus: Gpus | None = None
        while self._requests.get():
            gpus = gpus or self._open_gpus()
            self._answers.put(GpuAnswer(gpus.sample(), gpus.absent_reason))
        if gpus is not None:
            gpus.close()
