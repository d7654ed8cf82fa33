"""What the recorder itself costs: host time that it spends on the threads of the training.

Counted between the recorder's own doors: hooks, phases, the begin and the end of a step with its
writing. What it does between two steps, after the boundary, belongs to the later step, as the
step's own time does. The resource sampler is a process of its own and not in here.
"""

from collections.abc import Callable
from typing import Any

import torch


class OwnCost:
    """Adds up host time; its calls do not nest.

    Args:
        now_ns: A steady clock in ns.
    """

    __slots__ = ("_now_ns", "_since_ns", "_spent_ns")

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._since_ns: int | None = None
        self._spent_ns = 0

    def begin(self) -> None:
        """The recorder works from here on."""
        self._since_ns = self._now_ns()

    def end(self) -> None:
        """The training goes on."""
        if self._since_ns is not None:
            self._spent_ns += self._now_ns() - self._since_ns
            self._since_ns = None

    def metered(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """A hook of a module or a node that changes nothing there, its time added up.

        Inside a compiled region a hook is traced once, not run: there it does nothing.
        """
        now_ns, is_compiling = self._now_ns, torch.compiler.is_compiling

        def counted(*args: Any) -> None:
            if is_compiling():
                return
            began_ns = now_ns()
            hook(*args)
            self._spent_ns += now_ns() - began_ns

        return counted

    def take_ms(self) -> float:
        """Milliseconds since the last `take_ms`, those of the work that is going on included."""
        if self._since_ns is not None:
            now_ns = self._now_ns()
            self._spent_ns += now_ns - self._since_ns
            self._since_ns = now_ns
        spent_ns, self._spent_ns = self._spent_ns, 0
        return spent_ns / 1e6
