"""Loading processes that outlive nobody: they end with the process that started them.

PyTorch's own look for the parent, every 5 s, has two gaps: a process whose parent died directly
after the fork takes the system's first process for it and stays for ever, and one that hangs in a
read never looks.
"""

import ctypes
import os
import signal
import threading
from dataclasses import dataclass

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


@dataclass(frozen=True)
class Parent:
    """Who starts loading processes; `is_main` says whether its main thread does."""

    pid: int
    is_main: bool

    @classmethod
    def here(cls) -> "Parent":
        """This process and thread."""
        is_main = threading.current_thread() is threading.main_thread()
        return cls(os.getpid(), is_main)


def end_with(parent: Parent) -> None:
    """Let the system kill this process when its parent dies; end now if it is dead already.

    The system means the thread that forked, so this is asked for only where it is the main one,
    which lives as long as its process.
    """
    if parent.is_main:
        _ask_to_be_killed()
    if os.getppid() != parent.pid:
        os._exit(1)


def _ask_to_be_killed() -> None:
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):  # not Linux
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
