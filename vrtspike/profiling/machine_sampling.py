"""The resource sampler as a part of the recorder: one for each machine."""

import os
from pathlib import Path

from vrtspike.profiling.nvml_gpus import gpu_absence
from vrtspike.profiling.parts import PartHost, RecorderPart
from vrtspike.profiling.sampler_process import SamplerProcess, launcher_pid


class MachineSampling(RecorderPart):
    """Runs the sampler from the start of the recorder to its end, and says if it died.

    Args:
        out: The file of samples.
        interval_s: Seconds between two of them.
    """

    def __init__(self, out: Path, interval_s: float) -> None:
        self._out = out
        self._interval_s = interval_s
        self._host: PartHost | None = None
        self._sampler: SamplerProcess | None = None

    def start(self, host: PartHost) -> None:
        """Starts the sampler; without a GPU, says so once."""
        self._host = host
        if self._out.parent.is_dir():  # else there is nowhere to write to, which has been said
            launcher = launcher_pid(dict(os.environ))
            self._sampler = SamplerProcess(self._out, self._interval_s, launcher)
        reason = gpu_absence()
        if reason is not None:
            host.event("gpus_absent", reason=reason)

    def finish(self) -> None:
        """Ends the sampler."""
        code = self._sampler.stop() if self._sampler else None
        if code is not None and self._host is not None:
            self._host.event("resource_sampler_died", exit_code=code)
