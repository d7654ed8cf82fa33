"""What the recorder itself costs: host time that it spends on the threads of the training.

Counted between the recorder's own doors: hooks, phases, the begin and the end of a step with its
writing. What it does between two steps, after the boundary, belongs to the later step, as the
step's own time does. The resource sampler is a process of its own and not in here.
"""

from collections.abc import Callable


class OwnCost:
    """Adds up host time; `begin` and `end` do not nest.

    A hook runs too often for two calls more: it adds to `spent_ns` what it takes by `now_ns`.

    Args:
        now_ns: A steady clock in ns.
    """

    __slots__ = ("_each_ns", "_owed_ns", "_since_ns", "now_ns", "spent_ns")

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
        self.spent_ns = 0
        self._since_ns: int | None = None
        self._each_ns = self._owed_ns = 0

    def begin(self) -> None:
        """The recorder works from here on."""
        self._since_ns = self.now_ns()

    def end(self) -> None:
        """The training goes on."""
        if self._since_ns is not None:
            self.spent_ns += self.now_ns() - self._since_ns
            self._since_ns = None

    def spread(self, spent_ns: int, steps: int) -> None:
        """Work for several steps at once counts to as many of the next, in equal parts."""
        self._owed_ns += spent_ns
        self._each_ns = -(-self._owed_ns // steps)

    def take_ms(self) -> float:
        """Milliseconds since the last `take_ms`, those of the work that is going on included."""
        part_ns = min(self._each_ns, self._owed_ns)
        self._owed_ns -= part_ns
        self.spent_ns += part_ns
        if self._since_ns is not None:
            now_ns = self.now_ns()
            self.spent_ns += now_ns - self._since_ns
            self._since_ns = now_ns
        spent_ns, self.spent_ns = self.spent_ns, 0
        return spent_ns / 1e6
