"""Loading processes that a signal to everybody does not end: their trainer decides when they end.

Ctrl-C, a scheduler, torchrun or systemd signals all processes of a run. The trainer then finishes
its step and saves, all ranks together; for that its loading processes have to live on.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
