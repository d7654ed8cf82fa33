"""The batches of running loading processes, with an end to the waiting for one."""

import contextlib
import multiprocessing.process
import re
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

import psutil

from vrtspike.data.loading_faults import (
    DeadWorker,
    LoadingDiedError,
    LoadingFaultError,
    LoadingStuckError,
    died_handing_over,
    explain_fault,
)
from vrtspike.data.reading_board import HANGS, ReadingBoard

TICK_S = 5.0
"""How often the waiting looks around, which is also how often PyTorch looks for dead processes."""
_DEATH_DUE_S = 2.0
_END_S = 2.0
_TICKS_AFTER = 2
_TIMED_OUT = re.compile(r"DataLoader timed out after")


class PatientBatches(Iterator[Any]):
    """Iterates like the loader's own iterator, of which it shows every other attribute, too.

    Time is counted in ticks of the waiting, not by a clock: a process that was stopped for an hour
    has not waited for an hour.

    Args:
        batches: A DataLoader's iterator; where it has processes, made with `timeout=tick_s`.
        board: Where they leave what they read.
        limit_s: How long a single batch may take; None for ever.
        tick_s: The loader's own `timeout`.
    """

    def __init__(
        self,
        batches: Iterator[Any],
        board: ReadingBoard | None,
        limit_s: float | None,
        tick_s: float = TICK_S,
    ) -> None:
        self._batches = batches
        self._board = board
        self._limit_s = limit_s
        self._tick_s = tick_s
        self._processes = tuple(getattr(batches, "_workers", ()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batches, name)

    def __next__(self) -> Any:
        with self._backstop():
            return self._next()

    @contextlib.contextmanager
    def _backstop(self) -> Iterator[None]:
        """Ends a wait that no time-out of PyTorch reaches: the hand-over of a process that stands.

        By a timer of the system, which only the main thread can have; it comes after the ordinary
        end of the waiting, and counts in ticks, too.
        """
        limit_s = self._limit_s
        in_main = threading.current_thread() is threading.main_thread()
        is_free = in_main and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        if limit_s is None or not self._processes or not is_free:
            yield
            return
        ticks = 0

        def ring(number: int, frame: FrameType | None) -> None:
            nonlocal ticks
            ticks += 1
            if (ticks - _TICKS_AFTER) * self._tick_s >= limit_s:
                self._give_up(ticks * self._tick_s)

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, self._tick_s, self._tick_s)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _next(self) -> Any:
        ticks = 0
        while True:
            try:
                return next(self._batches)
            except RuntimeError as error:
                if not _TIMED_OUT.match(str(error)):
                    raise
            ticks += 1
            self._look_around(ticks * self._tick_s)

    def explain(self, error: BaseException) -> LoadingFaultError | None:
        """What a fault of the loading was, with what its processes' exit codes tell."""
        found = self._fault(error)
        is_nameless = isinstance(found, LoadingDiedError) and found.signal_name is None
        if not is_nameless and not isinstance(error, EOFError | ConnectionError):
            return found
        # A process died, perhaps while it handed a batch over. PyTorch's handler of its signal, and
        # its exit code, are due now.
        try:
            self._wait_for_a_death()
        except (RuntimeError, ValueError) as told:
            return self._fault(told) or found or died_handing_over()
        return self._fault(error) or found or died_handing_over()

    def _fault(self, error: BaseException) -> LoadingFaultError | None:
        reports = [] if self._board is None else self._board.reports()
        return explain_fault(error, self._dead(), reports)

    def _wait_for_a_death(self) -> None:
        alive = {each.sentinel: each for each in self._processes if each.is_alive()}
        for sentinel in wait(list(alive), _DEATH_DUE_S):
            alive[sentinel].join(_DEATH_DUE_S)  # its files close before its exit code is there

    def _dead(self) -> list[DeadWorker]:
        codes = [(each.pid, each.exitcode) for each in self._processes]
        return [DeadWorker(pid, code) for pid, code in codes if code is not None]

    def _look_around(self, waited_s: float) -> None:
        thread = getattr(self._batches, "_pin_memory_thread", None)
        if thread is not None and not thread.is_alive():
            raise RuntimeError("Pin memory thread exited unexpectedly")
        if self._limit_s is not None and waited_s >= self._limit_s:
            self._give_up(waited_s)

    def _give_up(self, waited_s: float) -> None:
        message = self._what_hangs(waited_s)
        self._end_processes()
        raise LoadingStuckError(message)

    def _what_hangs(self, waited_s: float) -> str:
        found = [] if self._board is None else self._board.readings()
        stopped = [str(each.pid) for each in self._processes if _is_stopped(each.pid)]
        if stopped:
            return (
                f"no batch came for {waited_s:g} s: loading processes are stopped, by SIGSTOP or a "
                f"debugger (pid {', '.join(stopped)}). `kill -CONT PID` lets one go on; if such "
                "stops are in order, raise DATALOADER.BATCH_TIMEOUT_S"
            )
        if not found:
            return (
                f"no batch came for {waited_s:g} s, though no loading process is reading a file: "
                "making a batch takes longer than DATALOADER.BATCH_TIMEOUT_S"
            )
        slowest = found[0]
        process = self._processes[slowest.slot - 1] if slowest.slot else None
        who = "" if process is None else f" {slowest.slot - 1} (pid {process.pid})"
        return (
            f"no batch came for {waited_s:g} s: loading process{who} has been reading "
            f"{slowest.path} for {slowest.seconds:.0f} s: {HANGS}"
        )

    def _end_processes(self) -> None:
        """Kills them: one that hangs would be waited for at the end of the program, too."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's would raise for each of them
        for each in self._processes:
            each.kill()
        for each in self._processes:
            each.join(_END_S)
            if each.is_alive():  # in the kernel, beyond any signal: nobody shall wait for it
                _children().discard(each)


def _is_stopped(pid: int | None) -> bool:
    with contextlib.suppress(psutil.Error):
        return pid is not None and psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def _children() -> set[Any]:
    found: set[Any] = getattr(multiprocessing.process, "_children", set())
    return found
