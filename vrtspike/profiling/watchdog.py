"""A thread that sleeps until its time comes or somebody wakes it; it takes no lock of the others.

It is woken through a pipe, because a signal handler may write to one wherever it interrupts. The
interpreter itself writes the numbers of signals there as they arrive, also while the main thread
is inside C code that does not return.
"""

import faulthandler
import logging
import os
import select
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from vrtspike.profiling.jsonl_writer import discard

_log = logging.getLogger(__name__)
_JOIN_S = 5.0
_WAKE = b"\0"


class Watchdog:
    """Calls `on_wake` from a thread of its own, at least once in every period.

    Args:
        on_wake: Gets the numbers of the signals that have arrived since.
        period_s: Seconds until the next call; asked before each.
    """

    def __init__(
        self, on_wake: Callable[[frozenset[int]], None], period_s: Callable[[], float]
    ) -> None:
        self._on_wake = on_wake
        self._period_s = period_s
        self._ends = False
        self._hears_signals = False
        self._wait, self._wake = os.pipe()
        for end in (self._wait, self._wake):
            os.set_blocking(end, False)
        self._thread = threading.Thread(target=self._run, name="black-box", daemon=True)

    @property
    def hears_signals(self) -> bool:
        """Whether it is told which signals arrive."""
        return self._hears_signals

    def start(self) -> None:
        """Starts the thread; hears signals too where nobody else listens to them in this way."""
        if threading.current_thread() is threading.main_thread():
            before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
            self._hears_signals = before == -1
            if not self._hears_signals:
                signal.set_wakeup_fd(before)
        self._thread.start()

    def wake(self) -> None:
        """Wakes it now; from any thread, and from a signal handler."""
        try:
            os.write(self._wake, _WAKE)
        except OSError:  # the pipe is full: it is awake
            return

    def stop(self) -> None:
        """Ends the thread; one that does not end within 5 s is left alone."""
        if self._hears_signals and threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(-1)
            self._hears_signals = False
        self._ends = True
        self.wake()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive() or self._hears_signals:
            return  # its pipe stays open with it
        os.close(self._wait)
        os.close(self._wake)

    def _run(self) -> None:
        while not self._ends:
            select.select([self._wait], [], [], self._period_s())
            heard = self._heard()
            if not self._ends:
                self._on_wake(heard)

    def _heard(self) -> frozenset[int]:
        try:
            return frozenset(os.read(self._wait, 1 << 16)) - {0}
        except BlockingIOError:
            return frozenset()


class StuckInterpreter:
    """Writes every stack when no Python code runs any more, because C code holds the lock.

    No thread of Python could notice that. `faulthandler` can: a timer in C, which is put back
    again and again, writes to `path` when nobody has put it back for `limit_s`.
    """

    def __init__(self, path: Path, limit_s: float) -> None:
        self._path = path
        self._limit_s = limit_s
        self._told_bytes = 0
        self._descriptor: int | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            _log.debug("no stacks of a stuck interpreter: %s", error)

    def put_off(self) -> bool:
        """Sets the timer anew; whether it has run out since the last time."""
        if self._descriptor is None:
            return False
        faulthandler.dump_traceback_later(self._limit_s, file=self._descriptor)
        written = os.fstat(self._descriptor).st_size
        is_news, self._told_bytes = written > self._told_bytes, written
        return is_news

    def close(self) -> None:
        """Ends the timer; a file that nobody has written to goes."""
        if self._descriptor is None:
            return
        faulthandler.cancel_dump_traceback_later()
        is_empty = os.fstat(self._descriptor).st_size == 0
        os.close(self._descriptor)
        self._descriptor = None
        if is_empty:
            discard(self._path)
