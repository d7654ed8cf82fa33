"""Keeps the books of the step that is running: phases tile it, stages tile its forward.

A step runs from one boundary to the next. A boundary is the end of a step or of a span outside
steps, so that time between two steps (the loop itself, a fetch made early) belongs to the later.
"""

from dataclasses import dataclass, field

from vrtspike.profiling.clock import Clock
from vrtspike.profiling.memory import HostStepMemory, StepMemory
from vrtspike.profiling.module_hooks import Mode, StageHooks, StageTimes
from vrtspike.profiling.own_cost import OwnCost
from vrtspike.profiling.ranges import Range, Ranges
from vrtspike.profiling.timers import Interval, Mark, Timer


@dataclass(slots=True)
class _Boundary:
    perf_ns: int
    unix_s: float
    mark: Mark


@dataclass(slots=True)
class Account:
    """A closed step: its host times, and the marks of its device times.

    `device_phases` is empty and the marks are None when the timer runs on the host's own clock.
    """

    start_unix_s: float
    step_ns: int
    host_ns: dict[str, int]
    start_mark: Mark
    end_mark: Mark
    device_phases: list[Interval] = field(default_factory=list)
    stages: StageTimes = field(default_factory=lambda: StageTimes([], {}, [], {}))
    forward_ran: bool = False


class _OpenPhase:
    __slots__ = ("mark", "name", "range", "start_ns")

    def __init__(self, name: str, start_ns: int, mark: Mark, span: Range | None) -> None:
        self.name = name
        self.start_ns = start_ns
        self.mark = mark
        self.range = span


class StepBook:
    """Accumulates the running step.

    Phases may repeat (micro-batches) and nest; a nested phase is not charged to the outer one.
    Stages are timed while `observing` is set, for whole steps.
    """

    def __init__(
        self,
        clock: Clock,
        timer: Timer,
        hooks: StageHooks,
        ranges: Ranges,
        memory: StepMemory | None = None,
    ) -> None:
        self.observing = True
        self._clock = clock
        self._timer = timer
        self._hooks = hooks
        self._ranges = ranges
        self._memory = memory or HostStepMemory()
        self._on_device = timer.clock == "device"
        self._open: list[_OpenPhase] = []
        self._host_ns: dict[str, int] = {}
        self._intervals: list[Interval] = []
        self._start: _Boundary | None = None

    @property
    def in_phase(self) -> bool:
        """Whether a phase is open."""
        return bool(self._open)

    def start_first(self) -> None:
        """Starts the first step of a run here, unless a phase of it has run already."""
        if not self._open and not self._host_ns:
            self._start = self._boundary()

    def restart(self) -> None:
        """Forgets what was open: the next step starts here."""
        self._hooks.phase_ends()
        self._hooks.mode = None
        self._hooks.take()
        self._open.clear()
        self._host_ns = {}
        self._intervals = []
        self._start = self._boundary()

    def enter(self, name: str) -> None:
        """Opens a phase."""
        if self._start is None:
            self._start = self._boundary()
        if self._memory.sampling:
            self._memory.part_ends(self._open[-1].name if self._open else "other", None)
        span = self._ranges.open(name)
        mark = self._timer.mark() if self._on_device else None
        self._open.append(_OpenPhase(name, self._clock.perf_ns(), mark, span))
        self._hooks.mode = _mode(name) if self.observing else None

    def leave(self) -> None:
        """Closes the innermost phase, and stages that an exception left open in it."""
        phase = self._open.pop()
        if _mode(phase.name) is not None:
            self._hooks.phase_ends()
        if self._memory.sampling:
            self._memory.part_ends(phase.name, None)
        spent = self._clock.perf_ns() - phase.start_ns
        outer = self._open[-1].name if self._open else None
        host_ns = self._host_ns
        host_ns[phase.name] = host_ns.get(phase.name, 0) + spent
        if outer is not None:
            host_ns[outer] = host_ns.get(outer, 0) - spent
        if self._on_device:
            self._intervals.append(Interval(phase.name, outer, phase.mark, self._timer.mark()))
        self._ranges.close(phase.range)
        self._hooks.mode = _mode(outer) if self.observing else None

    def close(self) -> Account:
        """Closes the step and begins the next.

        Raises:
            RuntimeError: a phase is still open.
        """
        if self._open:
            raise RuntimeError(f"the step ended inside its phase {self._open[-1].name!r}")
        end = self._boundary()
        start = self._start or end
        stages = self._hooks.take()
        account = Account(
            start_unix_s=start.unix_s,
            step_ns=end.perf_ns - start.perf_ns,
            host_ns=self._host_ns,
            start_mark=start.mark,
            end_mark=end.mark,
            device_phases=self._intervals,
            stages=stages if self.observing else StageTimes([], {}, [], {}),
            forward_ran="forward" in self._host_ns,
        )
        self._host_ns, self._intervals = {}, []
        # The device's next step starts at a mark of its own: this one goes back to the pool.
        self._start = _Boundary(end.perf_ns, end.unix_s, self._mark())
        return account

    def _mark(self) -> Mark:
        return self._timer.mark() if self._on_device else None

    def _boundary(self) -> _Boundary:
        return _Boundary(self._clock.perf_ns(), self._clock.unix_s(), self._mark())


def _mode(phase: str | None) -> Mode:
    """What the runs of stages in a phase are."""
    if phase == "forward":
        return "forward"
    return "backward" if phase == "backward" else None


class PhaseContext:
    """`with phase:`; one object for each name, since the state lives in the book's stack."""

    __slots__ = ("_book", "_cost", "_name")

    def __init__(self, book: StepBook, name: str, cost: OwnCost) -> None:
        self._book = book
        self._name = name
        self._cost = cost

    def __enter__(self) -> None:
        self._cost.begin()
        self._book.enter(self._name)
        self._cost.end()

    def __exit__(self, *exc: object) -> None:
        self._cost.begin()
        self._book.leave()
        self._cost.end()
