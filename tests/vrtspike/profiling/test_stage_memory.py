"""The peak of the device's memory has a place, and looking for it waits for nothing."""

import pytest
import torch
from torch import nn

from tests.vrtspike.profiling.stage_models import by_phase
from vrtspike.profiling.memory import CudaStepMemory, allocator_record
from vrtspike.profiling.recording import Instruments
from vrtspike.profiling.timers import HostTimer


class FakeAllocator:
    """Counts as PyTorch's does: what is held now, and the most since the last reset."""

    def __init__(self):
        self.held = self.peak = 100
        self.reserved_peak = 1000
        self.reads = self.resets = 0

    def use(self, size):
        """Holds so much more for a moment."""
        self.peak = max(self.peak, self.held + size)

    def keep(self, size):
        self.held += size
        self.peak = max(self.peak, self.held)

    def stats(self, device):
        self.reads += 1
        return {
            "allocated_bytes": {"all": {"current": self.held, "peak": self.peak}},
            "reserved_bytes": {"all": {"current": 1000, "peak": self.reserved_peak}},
            "inactive_split_bytes": {"all": {"current": 7}},
            "num_alloc_retries": 3,
        }

    def reset(self, device):
        self.resets += 1
        self.peak, self.reserved_peak = self.held, 1000


class Hungry(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, allocator, forward, backward):
        ctx.allocator, ctx.backward_size = allocator, backward
        allocator.use(forward)
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        ctx.allocator.use(ctx.backward_size)
        return gradient, None, None, None


class Stage(nn.Module):
    def __init__(self, allocator, forward, backward):
        super().__init__()
        self.args = allocator, forward, backward
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return Hungry.apply(x * self.weight, *self.args)


@pytest.fixture
def allocator():
    return FakeAllocator()


@pytest.fixture
def new_run(new_recorder, clock, allocator):
    def make(**options):
        memory = CudaStepMemory(
            torch.device("cpu"), read_stats=allocator.stats, reset=allocator.reset, **options
        )
        return new_recorder(
            instruments=Instruments(clock=clock, timer=HostTimer(clock), memory=memory)
        )

    return make


def take_steps(recorder, model, count, *, optimizer=lambda: None):
    for number in range(1, count + 1):
        recorder.begin_step(number)
        with recorder.phase("forward"):
            y = model(torch.ones(2))
        with recorder.phase("backward"):
            y.sum().backward()
        with recorder.phase("optimizer"):
            optimizer()
        recorder.end_step(micro_batches=1, samples=1)


def test_each_stage_and_direction_has_its_own_peak(new_run, allocator, heard):
    model = nn.Sequential(Stage(allocator, 10, 80), Stage(allocator, 40, 20))
    with new_run(stage_every_steps=1) as recorder:
        recorder.observe(model, {"a": ["0"], "b": ["1"]})
        take_steps(recorder, model, 2)
    peaks = {r.phase: r.peak_allocated_bytes for r in heard.stages if r.step == 2}
    assert peaks["forward"] == {"a": 110, "b": 140, "forward.other": 100}
    assert peaks["backward"] == {"a": 180, "b": 120, "backward.other": 100}
    memory = heard.steps[1].memory
    assert (memory.device_peak_phase, memory.device_peak_stage) == ("backward", "a")
    assert memory.device_peak_allocated_bytes == 180
    assert memory.device_inactive_split_bytes == 7


def test_a_peak_outside_the_stages_names_the_phase_alone(new_run, allocator, heard):
    model = nn.Sequential(Stage(allocator, 10, 80))
    with new_run(stage_every_steps=1) as recorder:
        recorder.observe(model, {"a": ["0"]})
        take_steps(recorder, model, 2, optimizer=lambda: allocator.use(500))
    memory = heard.steps[1].memory
    assert (memory.device_peak_phase, memory.device_peak_stage) == ("optimizer", None)
    assert memory.device_peak_allocated_bytes == 600


def test_sampled_and_other_steps_state_the_same_peak(new_run, allocator, heard):
    model = nn.Sequential(Stage(allocator, 10, 80), Stage(allocator, 40, 20))
    with new_run(stage_every_steps=3) as recorder:
        recorder.observe(model, {"a": ["0"], "b": ["1"]})
        take_steps(recorder, model, 7)
    assert [s.memory.device_peak_allocated_bytes for s in heard.steps] == [180] * 7
    sampled = [s.step for s in heard.steps if s.memory.device_peak_phase]
    assert sampled == [2, 5]
    known = {r.step for r in heard.stages if r.peak_allocated_bytes is not None}
    assert known == {2, 5}


def test_a_step_that_is_not_sampled_reads_the_counters_once(new_run, allocator):
    model = nn.Sequential(Stage(allocator, 10, 80))
    with new_run(stage_every_steps=1000) as recorder:
        recorder.observe(model, {"a": ["0"]})
        take_steps(recorder, model, 2)
        before = allocator.reads
        take_steps(recorder, model, 5)
        assert allocator.reads - before == 5


def test_an_allocator_not_yet_used_has_no_figures():
    record = allocator_record({}, 5)
    assert record.process_rss_bytes == 5
    assert record.device_allocated_bytes is None
    assert record.device_inactive_split_bytes is None


def test_on_a_cpu_nothing_is_sampled(new_recorder, heard):
    model = nn.Sequential(nn.Linear(2, 2))
    with new_recorder() as recorder:
        recorder.observe(model, {"a": ["0"]})
        take_steps(recorder, model, 3)
    assert all(record.peak_allocated_bytes is None for record in heard.stages)
    assert by_phase(heard)["backward"].calls == {"a": 1}
