"""Gives memory that nobody uses any more back to the system before processes are forked.

A forked process shares every page of its parent until one of them writes to it. Pages of tensors
that are long gone would be written to by the very next step, and the forked process would keep the
old ones.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def give_back_free_heap() -> bool:
    """Returns free pages of the C heap to the system; False where the C library has no such call.

    Takes some milliseconds for each GiB that is given back.
    """
    trim = _trim()
    return trim is not None and trim(0) == 1


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found
