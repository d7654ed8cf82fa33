"""Where every thread of this process is, and where its loading processes are.

The threads through `sys._current_frames`, which stops nobody. A forked process has inherited the
handler by which `faulthandler` writes the stacks of a process when it gets SIGUSR1; it is sent to
children that plainly have it and never to others, since it would end them.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TypedDict

import psutil

from vrtspike.profiling.jsonl_writer import discard

MAX_THREADS = 64
MAX_FRAMES = 60
MAX_WORKERS = 64
MAX_WORKER_BYTES = 1 << 14
_PLACES = 3
_OWN = "vrtspike.profiling."
_MIN_AGE_S = 2.0
"""A child this young may still be about to start another program, and lose the handler."""
_ANSWER_S = 1.0
_POLL_S = 0.005


class Frame(TypedDict):
    """A place in the program; `file` is absent where paths are redacted."""

    module: str
    function: str
    line: int
    file: str | None


class ThreadStack(TypedDict):
    """One thread and its frames, the innermost first."""

    name: str
    is_main: bool
    frames: list[Frame]


def thread_stacks(*, redact: bool = False) -> list[ThreadStack]:
    """Every Python thread of this process, the main thread first; bounded."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    frames = sys._current_frames()
    idents = sorted(frames, key=lambda ident: (ident != main, ident))[:MAX_THREADS]
    return [
        ThreadStack(
            name=names.get(ident, f"thread {ident}"),
            is_main=ident == main,
            frames=list(_frames(frames[ident], redact=redact)),
        )
        for ident in idents
    ]


def _frames(frame: FrameType | None, *, redact: bool) -> Iterator[Frame]:
    for _ in range(MAX_FRAMES):
        if frame is None:
            return
        yield frame_of(frame, frame.f_lineno, redact=redact)
        frame = frame.f_back


def frame_of(frame: FrameType, line: int | None, *, redact: bool) -> Frame:
    """A place in the program; a module's name says where it is without any path."""
    code = frame.f_code
    return Frame(
        module=str(frame.f_globals.get("__name__", "?")),
        function=code.co_qualname,
        line=line or 0,
        file=None if redact else code.co_filename,
    )


def is_compiling(stack: ThreadStack) -> bool:
    """Whether the thread is inside `torch.compile`, which takes minutes and is no hang."""
    return any(
        each["module"].startswith(("torch._dynamo", "torch._ind")) for each in stack["frames"]
    )


def main_place(threads: list[ThreadStack]) -> str | None:
    """Where the main thread is, in words: its innermost places, the innermost first."""
    return places(next((each["frames"] for each in threads if each["is_main"]), []))


def places(frames: list[Frame]) -> str | None:
    """The first of these frames in words, the recorder's own left out."""
    others = [each for each in frames if not each["module"].startswith(_OWN)]
    named = [f"{each['module']}:{each['function']}:{each['line']}" for each in others]
    return " < ".join(named[:_PLACES]) or None


class WorkerStacks:
    """Asks forked children for their stacks through a file that they all append to.

    Where somebody else listens to SIGUSR1, there are none. `close` gives the signal back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        if not hasattr(faulthandler, "register") or _is_taken(signal.SIGUSR1):
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o644)
        except OSError:
            return
        faulthandler.register(signal.SIGUSR1, self._descriptor, all_threads=True)

    def ask(self) -> list[str] | None:
        """What the loading processes write, each after a line with its process id.

        Waits up to a second for all of them; None where none can be asked.
        """
        if self._descriptor is None:
            return None
        asked = [child.pid for child in _listening_children()][:MAX_WORKERS]
        start = os.fstat(self._descriptor).st_size
        lines: list[str] = []
        until = time.monotonic() + _ANSWER_S
        for pid in asked:
            lines += [f"process {pid}:", *self._answer(pid, until)]
        if start == 0:  # what a user asked for with `kill -USR1` stays
            os.ftruncate(self._descriptor, 0)
        return lines or None

    def _answer(self, pid: int, until: float) -> list[str]:
        """One process at a time, since their lines would mix."""
        assert self._descriptor is not None
        start = size = os.fstat(self._descriptor).st_size
        _send(pid)
        while time.monotonic() < until:
            time.sleep(_POLL_S)
            grown = os.fstat(self._descriptor).st_size
            if grown == size > start:
                text = os.pread(self._descriptor, MAX_WORKER_BYTES, start)
                return text.decode("utf-8", "replace").splitlines()
            size = grown
        return ["  no answer"]

    def close(self) -> None:
        """Gives the signal back; a file that nobody has written to goes."""
        if self._descriptor is None:
            return
        faulthandler.unregister(signal.SIGUSR1)
        empty = os.fstat(self._descriptor).st_size == 0
        os.close(self._descriptor)
        self._descriptor = None
        if empty:
            discard(self._path)


def _is_taken(number: signal.Signals) -> bool:
    # A handler in C, such as another `faulthandler`, is unknown to the signal module.
    return signal.getsignal(number) is not signal.SIG_DFL or _catches(os.getpid(), number)


def _send(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGUSR1)
    except OSError:  # it has ended meanwhile
        return


def _listening_children() -> Iterator[psutil.Process]:
    """Children of this program's own making that catch SIGUSR1 and are old enough to stay."""
    me = psutil.Process()
    now = time.time()
    for child in me.children():
        try:
            same = child.cmdline() == me.cmdline()
            if same and now - child.create_time() > _MIN_AGE_S and _catches(child.pid):
                yield child
        except psutil.Error:
            continue


def _catches(pid: int, number: int = signal.SIGUSR1) -> bool:
    """Whether the process has a handler for the signal, as Linux tells it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return False
    mask = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
    return bool(int(mask, 16) >> (number - 1) & 1)


def error_stack(error: BaseException, *, redact: bool) -> dict[str, Any]:
    """An error in plain data: its type, what it says, its frames (outermost first), its cause.

    Nothing of it is kept: its frames would hold tensors.
    """
    chain: list[dict[str, Any]] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 8:
        chain.append(_one_error(current, redact=redact))
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return {**chain[0], "caused_by": chain[1:]}


def _one_error(error: BaseException, *, redact: bool) -> dict[str, Any]:
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(frame_of(trace.tb_frame, trace.tb_lineno, redact=redact))
        trace = trace.tb_next
    return {"type": type(error).__name__, "text": str(error)[:2000], "frames": frames[-MAX_FRAMES:]}
