"""One sample of the whole machine; needs no PyTorch."""

from vrtspike.profiling.clock import Clock
from vrtspike.profiling.gpu_thread import GpuThread
from vrtspike.profiling.host_load import DETAILS_EVERY_S, HostLoad
from vrtspike.profiling.machine_records import SamplerRecord
from vrtspike.profiling.process_tree import ProcessTree
from vrtspike.profiling.records import ResourceRecord


class Machine:
    """Samples host, process tree and GPUs together."""

    def __init__(self, tree: ProcessTree, gpus: GpuThread, clock: Clock) -> None:
        self._host = HostLoad()
        self._tree = tree
        self._gpus = gpus
        self._clock = clock
        self._details_due_ns = clock.perf_ns()

    def sample(self, sampler: SamplerRecord, patience_s: float) -> ResourceRecord:
        """One record.

        Args:
            sampler: The price so far, to be written with it.
            patience_s: How long to wait for the GPUs' driver.
        """
        at_unix_s, now_ns = self._clock.unix_s(), self._clock.perf_ns()
        self._gpus.request()
        with_details = now_ns >= self._details_due_ns
        if with_details:
            # A tenth early, so that samples a little off their grid keep the rhythm.
            self._details_due_ns = now_ns + round(0.9e9 * DETAILS_EVERY_S)
        host = self._host.sample(with_details=with_details)
        processes = self._tree.sample(with_details=with_details)
        answer = self._gpus.result(patience_s)
        return ResourceRecord(
            at_unix_s=at_unix_s,
            host=host,
            processes=processes,
            gpus=answer.records,
            gpus_absent_reason=answer.absent_reason,
            sampler=sampler,
        )

    def close(self) -> None:
        """Lets go of the GPUs and waits for what is being read."""
        self._gpus.close()
        self._tree.close()
