"""Starts and ends the resource sampler; needs no PyTorch."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import vrtspike

_log = logging.getLogger(__name__)
_STOP_TIMEOUT_S = 5.0
_HEARD_TIMEOUT_S = 1.0


class SamplerProcess:
    """The resource sampler beside one trainer.

    Args:
        out: The file that it appends to.
        interval_s: Seconds between two samples.
        root_pid: Top of the process tree to sample; by default this process.
        cache_bytes: What a cache in shared memory may grow to.
        heard: Gets what the sampler says at once, a line each, in a thread of its own.
        redact: Leave out paths.
    """

    def __init__(
        self,
        out: Path,
        interval_s: float,
        root_pid: int | None = None,
        *,
        cache_bytes: int = 0,
        heard: Callable[[bytes], None] | None = None,
        redact: bool = False,
    ) -> None:
        pid = os.getpid()
        command = [sys.executable, "-m", "vrtspike.profiling.resource_sampler"]
        command += ["--out", str(out.absolute()), "--interval-s", str(interval_s)]
        command += ["--main-pid", str(pid), "--root-pid", str(root_pid or pid)]
        command += ["--cache-bytes", str(cache_bytes)]
        command += ["--redact"] if redact else []
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                process_group=0,  # a Ctrl-C must not meet it before it can ignore one
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL if heard is None else subprocess.PIPE,
                env=module_environment(),
            )
        except OSError as error:
            _log.warning("no machine load is recorded: %s", error)
            return
        if heard is not None:
            self._listener = threading.Thread(
                target=_listen, args=(self._process, heard), name="sampler-lines", daemon=True
            )
            self._listener.start()

    @property
    def pid(self) -> int | None:
        """The sampler's process id, or None if it could not be started."""
        return self._process.pid if self._process else None

    def stop(self) -> int | None:
        """Ends the sampler.

        Returns:
            Its exit code if it had died before, otherwise None.
        """
        if self._process is None:
            return None
        died = self._process.poll()
        assert self._process.stdin is not None
        # Loader workers that are still there hold the pipe open too: closing it ends nothing.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(b"q")
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process = None
        if self._listener is not None:  # what was said last is heard before the facts are closed
            self._listener.join(_HEARD_TIMEOUT_S)
        return died

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # Stuck inside the GPUs' driver even the kernel cannot end it; the run must not wait.
            _log.warning("the resource sampler (pid %d) does not end", self._process.pid)


def _listen(process: subprocess.Popen[bytes], heard: Callable[[bytes], None]) -> None:
    """Until the sampler ends; a loader process that was forked meanwhile holds no end of it."""
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            heard(line)


def module_environment() -> dict[str, str]:
    """The environment in which `python -m vrtspike...` finds this package."""
    # The package may be importable here only because of the working directory or sys.path.
    package_parent = str(Path(vrtspike.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join(part for part in (package_parent, inherited) if part)
    return {**os.environ, "PYTHONPATH": path}


def launcher_pid(environment: dict[str, str]) -> int | None:
    """The launcher above this machine's ranks, if several ranks run here."""
    several = environment.get("LOCAL_WORLD_SIZE", "1") not in ("", "1")
    return os.getppid() if several else None
