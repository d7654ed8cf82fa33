"""The last steps of a run, always at hand, written down when something goes wrong.

A ring keeps what the recorder has resolved anyway. A thread that seldom wakes looks whether the
run stands still, takes the stacks of a step that is slow while it is slow, and writes the files,
so that the training waits for none of it. Faults here cost the black box, never the training.
"""

import json
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from vrtspike.profiling import stacks
from vrtspike.profiling.clock import Clock
from vrtspike.profiling.dump_files import DumpFiles
from vrtspike.profiling.hang_watch import HangWatch
from vrtspike.profiling.jsonl_writer import discard
from vrtspike.profiling.memory_snapshot import MemorySnapshots
from vrtspike.profiling.parts import NO_FIELDS, PartHost, RecorderPart, StepFields
from vrtspike.profiling.records import (
    SCHEMA_VERSION,
    EventRecord,
    SpanRecord,
    StagesRecord,
    StepRecord,
)
from vrtspike.profiling.redaction import redact_value
from vrtspike.profiling.slow_steps import MIN_RATIO, StepTimes
from vrtspike.profiling.spans import Value
from vrtspike.profiling.watchdog import StuckInterpreter, Watchdog

_Kept = TypeVar("_Kept")
FOLDER = "blackbox"
REQUEST = "snapshot.request"
_LEAST_PERIOD_S, _MOST_PERIOD_S = 1.0, 10.0
_STUCK_HANGS = 2.0
"""A stuck interpreter is told after this many hang limits: the gentler way has failed by then."""
_CAUSES = frozenset({"not_finite", "out_of_memory"})
"""An error that follows one of these directly is its consequence, and needs no file of its own."""
_FATAL = frozenset({"out_of_memory", "sigterm", "error", "hang"})
_TAIL_BYTES, _TAIL_LINES = 1 << 16, 10


@dataclass(frozen=True, kw_only=True)
class BoxPlan:
    """What a black box is told.

    `num_steps` are kept; at most `max_files` are written. `hang_after_s` is the shortest
    standstill that counts as a hang. `resources` is the machine's file of samples, if there is
    one. `redact` leaves out host and paths.
    """

    run_id: str
    rank: int
    num_steps: int
    max_files: int
    hang_after_s: float
    resources: Path | None
    redact: bool = False


@dataclass(frozen=True)
class _Request:
    reason: str
    step: int
    detail: dict[str, Value]
    threads: list[stacks.ThreadStack] | None = None


@dataclass
class _Ring:
    """What is at hand; `error` is what ended the run."""

    steps: deque[StepRecord]
    stages: deque[StagesRecord]
    spans: deque[SpanRecord] = field(default_factory=lambda: deque(maxlen=32))
    events: deque[EventRecord] = field(default_factory=lambda: deque(maxlen=64))
    error: dict[str, Any] | None = None


class BlackBox(RecorderPart):
    """A part of the recorder that listens to what it resolves."""

    def __init__(
        self,
        plan: BoxPlan,
        clock: Clock,
        memory: MemorySnapshots,
        new_watchdog: Callable[..., Watchdog] = Watchdog,
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._memory = memory
        self._times = StepTimes()
        self._hangs = HangWatch(clock.perf_ns, plan.hang_after_s)
        self._ring = _Ring(deque(maxlen=plan.num_steps), deque(maxlen=3 * plan.num_steps))
        self._requests: deque[_Request] = deque(maxlen=16)
        self._while_slow: deque[tuple[int, list[stacks.ThreadStack]]] = deque(maxlen=4)
        self._watchdog = new_watchdog(self.look, self._period_s)
        self._hang_file = ""
        self._last: tuple[str, int] = ("", -1)
        self._host: PartHost | None = None
        self._files: DumpFiles | None = None
        self._workers: stacks.WorkerStacks | None = None
        self._stuck: StuckInterpreter | None = None
        self._request_file = Path(REQUEST)
        self._old_usr2: Any = None

    def start(self, host: PartHost) -> None:
        """Begins to watch."""
        self._host = host
        plan, folder = self._plan, host.facts_dir / FOLDER
        self._files = DumpFiles(
            folder,
            plan.rank,
            max_files=plan.max_files,
            steady_s=lambda: self._clock.perf_ns() / 1e9,
        )
        self._request_file = host.facts_dir / REQUEST
        self._workers = stacks.WorkerStacks(folder / f"workers.rank{plan.rank}.txt")
        if not plan.redact:  # nobody could take the paths out of what C code writes
            limit_s = _STUCK_HANGS * plan.hang_after_s
            self._stuck = StuckInterpreter(folder / f"stuck.rank{plan.rank}.txt", limit_s)
        self._memory.start()
        self._watchdog.start()
        self._listen_to_usr2()

    def _listen_to_usr2(self) -> None:
        # The watchdog hears of it; the handler only keeps the signal from ending the run.
        if self._watchdog.hears_signals and signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL:
            self._old_usr2 = signal.signal(signal.SIGUSR2, _ignore)

    def step_begins(self, step: int) -> None:
        """A step has begun."""
        self._hangs.step_begins(step)

    def step_ends(self, step: int) -> StepFields:
        """A step has ended; one that was taken for a hang is told."""
        self._say_end_of_hang(self._hangs.step_ends())
        return NO_FIELDS

    def _say_end_of_hang(self, hung_s: float | None) -> None:
        if hung_s is not None and self._host is not None:
            self._host.event("hang_ended", seconds=round(hung_s, 3), file=self._hang_file)

    def span_begins(self, name: str) -> None:
        """Something outside the steps has begun: longer pauses are usual."""
        self._hangs.span_begins(name)

    def span_ends(self) -> None:
        """It has ended."""
        self._say_end_of_hang(self._hangs.span_ends())

    def on_step(self, step: StepRecord, stages: Sequence[StagesRecord]) -> None:
        """Keeps the step, and judges it."""
        self._ring.steps.append(step)
        self._ring.stages.extend(stages)
        if "loss" in step.nonfinite:
            self._ask("not_finite", step.step, loss=step.nonfinite["loss"])
        if step.tags:
            return
        slow = self._times.judge((step.device_ms or step.host_ms)["step"])
        if slow is not None:
            ms, median_ms, ratio = round(slow.ms, 3), round(slow.median_ms, 3), round(slow.ratio, 2)
            self._ask("slow_step", step.step, step_ms=ms, median_ms=median_ms, ratio=ratio)
            self._watchdog.wake()

    def on_span(self, span: SpanRecord) -> None:
        """Keeps it."""
        self._ring.spans.append(span)

    def on_event(self, event: EventRecord) -> None:
        """Keeps it; out of memory is a reason to write."""
        self._ring.events.append(event)
        if event.name == "out_of_memory":
            where = str(event.values.get("where"))
            self._ask("out_of_memory", event.step, memory=where)
            if where == "device":  # now, since the run's end frees what is held
                self._snapshot("out_of_memory")

    def failed(self, error: BaseException) -> None:
        """The run ends with an error, of which only words are kept."""
        self._ring.error = stacks.error_stack(error, redact=self._plan.redact)
        reason, step = self._last
        told = reason in _CAUSES and step >= self._hangs.step - 2
        told = told or any(each.reason in _CAUSES for each in self._requests)
        if self._hangs.step and not told:
            kind = type(error).__name__
            self._ask("error", self._hangs.step, type=kind, text=str(error)[:120])

    def close(self) -> None:
        """A listener's end; the part's own is `finish`."""

    def finish(self) -> None:
        """Writes what is outstanding and gives back every signal."""
        if self._host is None or self._files is None:
            return
        self._watchdog.stop()
        self._write_requests()
        if self._old_usr2 is not None:
            signal.signal(signal.SIGUSR2, self._old_usr2)
        if self._workers is not None:
            self._workers.close()
        if self._stuck is not None:
            self._stuck.close()
        self._memory.close()
        if self._files.withheld:
            self._host.event("black_box_withheld", **dict(self._files.withheld))

    def look(self, signals: frozenset[int]) -> None:
        """What the watchdog does each time it wakes."""
        if signal.SIGTERM in signals:
            self._ask("sigterm", self._hangs.step)
        if signal.SIGUSR2 in signals or self._take_request():
            self._ask("request", self._hangs.step)
        self._look_for_hang()
        self._look_for_slow_step()
        self._look_for_stuck()
        self._write_requests()

    def _look_for_hang(self) -> None:
        hang = self._hangs.check(self._times.median_ms, _main_is_compiling)
        if hang is not None:
            waited, limit = round(hang.waited_s, 1), round(hang.limit_s, 1)
            self._ask("hang", hang.step, waited_s=waited, limit_s=limit, span=hang.span)

    def _look_for_slow_step(self) -> None:
        """Takes the stacks of a slow step while it runs: afterwards they would show nothing."""
        elapsed_s, median_ms = self._hangs.elapsed_s(), self._times.median_ms
        if elapsed_s is None or median_ms is None or elapsed_s <= MIN_RATIO * median_ms / 1e3:
            return
        step = self._hangs.step
        if self._files is None or not self._files.has_room("slow_step"):
            return
        if all(each != step for each, _ in self._while_slow):
            found = stacks.thread_stacks(redact=self._plan.redact)
            self._while_slow.append((step, found))

    def _look_for_stuck(self) -> None:
        if self._stuck is not None and self._stuck.put_off() and self._host is not None:
            name = f"{FOLDER}/stuck.rank{self._plan.rank}.txt"
            self._host.event("black_box_written", reason="stuck", file=name)

    def _take_request(self) -> bool:
        if not self._request_file.exists():
            return False
        discard(self._request_file)
        return True

    def _period_s(self) -> float:
        """As long as a step takes, so that a slow one is met while it runs."""
        usual_s = MIN_RATIO * (self._times.median_ms or 0.0) / 1e3
        return min(max(usual_s, _LEAST_PERIOD_S), _MOST_PERIOD_S)

    def _ask(self, reason: str, step: int, **detail: Value) -> None:
        files = self._files
        if files is None or not files.may_write(reason, is_last=reason in _FATAL):
            return
        taken = next((found for each, found in self._while_slow if each == step), None)
        self._requests.append(_Request(reason, step, detail, taken))

    def _write_requests(self) -> None:
        while self._requests:
            self._write(self._requests.popleft())

    def _write(self, request: _Request) -> None:
        assert self._files is not None
        assert self._host is not None
        unix_s = self._clock.unix_s()
        content = self._content(request, unix_s)
        path = self._files.write(request.reason, unix_s, content)
        if path is None:
            return
        self._last = (request.reason, request.step)
        name = f"{FOLDER}/{path.name}"
        if request.reason == "hang":
            self._hang_file = name
        where = stacks.main_place(content["threads"])
        if self._ring.error is not None:
            where = stacks.places(self._ring.error["frames"][::-1])
        values = {"file": name, "at_step": request.step, "where": where, **request.detail}
        self._host.event("black_box_written", reason=request.reason, **values)
        if request.reason == "request":
            self._snapshot("request")

    def _content(self, request: _Request, unix_s: float) -> dict[str, Any]:
        plan, ring = self._plan, self._ring
        now = request.threads is None
        asked = self._workers.ask() if self._workers and request.reason != "error" else None
        content = {
            "schema": SCHEMA_VERSION,
            "kind": "black_box",
            "run_id": plan.run_id,
            "rank": plan.rank,
            "pid": os.getpid(),
            "reason": request.reason,
            "detail": request.detail,
            "step": request.step,
            "at_unix_s": unix_s,
            "error": ring.error,
            "threads_when": "writing" if now else "during the step",
            "threads": request.threads or stacks.thread_stacks(redact=plan.redact),
            "workers": asked,
            "resources": _tail(plan.resources),
            "events": _copied(ring.events),
            "spans": _copied(ring.spans),
            "stages": _copied(ring.stages),
            "steps": _copied(ring.steps),
        }
        told = {"detail": request.detail, "error": ring.error, "workers": asked}
        return {**content, **redact_value(told)} if plan.redact else content

    def _snapshot(self, reason: str) -> None:
        taken = self._memory.take(reason, self._clock.unix_s())
        if self._host is None:
            return
        if taken.path is not None:
            file = f"memory/{taken.path.name}"
            self._host.event("memory_snapshot", reason=reason, file=file)
        else:
            self._host.event("memory_snapshot_missing", reason=taken.problem)


def _copied(ring: deque[_Kept]) -> list[_Kept]:
    """The ring as it is now, though the training thread may be adding to it."""
    while True:
        try:
            return list(ring)
        except RuntimeError:  # mutated during iteration
            continue


def _ignore(number: int, frame: FrameType | None) -> None:
    del number, frame


def _main_is_compiling() -> bool:
    return any(each["is_main"] and stacks.is_compiling(each) for each in stacks.thread_stacks())


def _tail(path: Path | None) -> list[Any]:
    """The last samples of the machine."""
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read(_TAIL_BYTES).split(b"\n")
    except OSError:
        return []
    return [found for line in lines[-_TAIL_LINES - 1 :] if (found := _record(line)) is not None]


def _record(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # cut at its beginning, or not yet whole
        return None
