"""Loading processes that a signal to everybody does not end: their trainer decides when they end.

Ctrl-C, a scheduler, torchrun or systemd signals all processes of a run. The trainer then finishes
its step and saves, all ranks together; for that its loading processes have to live on.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkContext, ForkProcess
from multiprocessing.popen_fork import Popen
from typing import Any

_AGAIN_S = 1.0


@contextmanager
def terminations_held() -> Iterator[None]:
    """Requests to end wait meanwhile; a process forked inside is born with them waiting."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_parent_only() -> None:
    """From now on SIGTERM ends this process only where its parent sent it, and Ctrl-C never."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey, name="terminations", daemon=True).start()


def _obey() -> None:
    """A thread's life; a handler in Python would wait for the read that the main thread is in."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)  # as PyTorch's own handler does


class _PatientPopen(Popen):
    """Asks again: of two signals that wait at once the system keeps one, perhaps somebody else's.

    The process would heed none then, and the end of the program would wait for it for ever.
    """

    _was_asked = False

    def terminate(self) -> None:
        self._was_asked = True
        super().terminate()

    def wait(self, timeout: float | None = None) -> int | None:
        if timeout is not None or not self._was_asked:
            return super().wait(timeout)
        while (code := super().wait(_AGAIN_S)) is None:
            super().terminate()
        return code


class _Loading(ForkProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Popen:  # noqa: N802 - multiprocessing's own name
        return _PatientPopen(process_obj)


class LoadingContext(ForkContext):
    """Forks loading processes, which end when their trainer asks, and heed nobody else."""

    Process = _Loading
