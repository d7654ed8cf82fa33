"""The resource sampler as a part of the recorder: one for each machine."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vrtspike.profiling.log_lines import memory_warning
from vrtspike.profiling.memory_alarm import MEMORY_RUNNING_OUT
from vrtspike.profiling.nvml_gpus import gpu_absence
from vrtspike.profiling.parts import PartHost, RecorderPart
from vrtspike.profiling.sampler_process import SamplerProcess, launcher_pid

_log = logging.getLogger(__name__)
_GIB = 1 << 30


class MachineSampling(RecorderPart):
    """Runs the sampler from the start of the recorder to its end, and says if it died.

    Args:
        out: The file of samples.
        interval_s: Seconds between two of them.
        cache_bytes: What a cache in shared memory may grow to.
        redact: Leave out paths.
        has_log: Whether this rank writes the text log; another one says on standard error what
            its machine's sampler says at once.
    """

    def __init__(
        self,
        out: Path,
        interval_s: float,
        cache_bytes: int = 0,
        *,
        redact: bool = False,
        has_log: bool = True,
    ) -> None:
        self._out = out
        self._interval_s = interval_s
        self._cache_bytes = cache_bytes
        self._redact = redact
        self._has_log = has_log
        self._host: PartHost | None = None
        self._sampler: SamplerProcess | None = None

    def start(self, host: PartHost) -> None:
        """Starts the sampler; without a GPU, says so once."""
        self._host = host
        if self._out.parent.is_dir():  # else there is nowhere to write to, which has been said
            self._sampler = SamplerProcess(
                self._out,
                self._interval_s,
                launcher_pid(dict(os.environ)),
                cache_bytes=self._cache_bytes,
                heard=self.heard,
                redact=self._redact,
            )
        reason = gpu_absence()
        if reason is not None:
            host.event("gpus_absent", reason=reason)

    def heard(self, line: bytes) -> None:
        """Hands on what the sampler says at once, as an event of this rank."""
        host = self._host
        if host is None:
            return
        try:
            said = json.loads(line)
            name, values = said["name"], dict(said["values"])
        except (ValueError, KeyError, TypeError):  # cut: the pipe was full
            return
        host.event(str(name), **values)
        if name == MEMORY_RUNNING_OUT and not self._has_log:
            _log.warning("%s", memory_warning(values))

    def finish(self) -> None:
        """Ends the sampler."""
        code = self._sampler.stop() if self._sampler else None
        if code is not None and self._host is not None:
            self._host.event("resource_sampler_died", exit_code=code)


def cache_budget_bytes(config: Mapping[str, Any]) -> int:
    """What the cache of a configuration may grow to; 0 where there is none."""
    data = config.get("DATA")
    if not isinstance(data, Mapping) or data.get("USE_RAM_CACHE") is not True:
        return 0
    size_gib = data.get("CACHE_SIZE_GB")
    if isinstance(size_gib, bool) or not isinstance(size_gib, int | float):
        return 0
    return max(0, int(size_gib * _GIB))
