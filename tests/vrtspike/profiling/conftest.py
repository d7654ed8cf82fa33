"""A clock that moves when told, CUDA events that complete when told, and a recorder on them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vrtspike.profiling.session_bench import Bench, Net, SlowLoader, SlowSgd
from vrtspike.profiling.cuda_events import MAX_SCALARS, CudaEventTimer
from vrtspike.profiling.memory import HostStepMemory
from vrtspike.profiling.parts import RecorderPart
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.recording import Instruments, RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.settings import ProfilingConfig
from vrtspike.profiling.timers import HostTimer, Timer

QUIET = ProfilingConfig(resources=False, black_box=False)


class FakeClock:
    """Time passes in `pass_ms` only."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_000

    def pass_ms(self, ms: float) -> None:
        self.now_ns += round(ms * 1e6)

    def perf_ns(self) -> int:
        return self.now_ns

    def unix_s(self) -> float:
        return 1_700_000_000 + self.now_ns / 1e9


class FakeDevice:
    """A device whose queue reaches an event only when the test says so."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.events: list[FakeEvent] = []
        self.buffers: list[torch.Tensor] = []
        self.synchronized = 0
        self.failed = False

    def new_event(self) -> "FakeEvent":
        self.events.append(FakeEvent(self))
        return self.events[-1]

    def new_buffer(self) -> torch.Tensor:
        self.buffers.append(torch.empty(MAX_SCALARS))
        return self.buffers[-1]

    def reach(self, events: "list[FakeEvent]") -> None:
        for event in events:
            event.reached = True

    def reach_all(self) -> None:
        self.reach(self.events)

    def synchronize(self, device: torch.device) -> None:
        self.synchronized += 1
        if self.failed:
            raise RuntimeError("CUDA error: device-side assert triggered")
        self.reach_all()

    def timer(self) -> CudaEventTimer:
        return CudaEventTimer(
            torch.device("cpu"),
            new_event=self.new_event,
            new_buffer=self.new_buffer,
            stream=lambda device: "stream",
            wait=self.synchronize,
        )


class FakeEvent:
    """Takes its time when recorded; may be read only after the device has reached it."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.reached = False
        self.at_ns = 0

    def record(self, stream: Any = None) -> None:
        assert stream == "stream"
        self.reached = False
        self.at_ns = self.device.clock.now_ns

    def query(self) -> bool:
        if self.device.failed:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return self.reached

    def elapsed_time(self, end_event: "FakeEvent") -> float:
        assert self.reached
        assert end_event.reached
        return (end_event.at_ns - self.at_ns) / 1e6


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.stages: list[Any] = []
        self.spans: list[Any] = []
        self.events: list[Any] = []
        self.closed = 0

    def on_step(self, step: Any, stages: Any) -> None:
        self.steps.append(step)
        self.stages.extend(stages)

    def on_span(self, span: Any) -> None:
        self.spans.append(span)

    def on_event(self, event: Any) -> None:
        self.events.append(event)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def device(clock: FakeClock) -> FakeDevice:
    return FakeDevice(clock)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def new_recorder(
    tmp_path: Path, clock: FakeClock, heard: Heard
) -> Iterator[Callable[..., Recorder]]:
    """Makes recorders in a temporary folder, without the resource sampler; ends them."""
    made: list[Recorder] = []

    def make(
        *,
        first_step: int = 1,
        settings: ProfilingConfig = QUIET,
        profile: bool = False,
        parts: tuple[RecorderPart, ...] = (),
        timer: Timer | None = None,
        **options: Any,
    ) -> Recorder:
        run = RunRecord(
            run_id="train_20260101_000000_abcd",
            started_at="2023-11-14T00:00:00.000+00:00",
            status="running",
            first_step=first_step,
        )
        chosen = {
            "facts_dir": tmp_path / "facts",
            "run": run,
            "plan": RecordingPlan(settings=settings, profile=profile, parts=parts),
            "device": torch.device("cpu"),
            "listeners": (heard,),
            "instruments": Instruments(
                clock=clock, timer=timer or HostTimer(clock), memory=HostStepMemory()
            ),
            **options,
        }
        recorder = Recorder(**chosen)
        made.append(recorder)
        return recorder

    yield make
    for recorder in made:
        recorder.finish("finished")


@pytest.fixture
def read_lines() -> Callable[[Path], list[dict[str, Any]]]:
    """Reads a JSONL file; every line must be whole."""

    def read(path: Path) -> list[dict[str, Any]]:
        text = path.read_text(encoding="utf-8")
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]

    return read


@pytest.fixture
def bench(tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)

    def fitting(device: torch.device) -> Instruments:
        return Instruments(clock=clock, timer=HostTimer(clock), memory=HostStepMemory())

    monkeypatch.setattr(Instruments, "fitting", fitting)
    net = Net(clock)
    optimizer = SlowSgd(net.parameters(), lr=0.1)
    optimizer.clock = clock
    return Bench(tmp_path, clock, net, SlowLoader(clock), optimizer)
