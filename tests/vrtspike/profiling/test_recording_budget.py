"""The recorder knows what it costs, and thins itself out above its budget."""

import pytest
from torch import nn, zeros

from vrtspike.profiling.own_cost import OwnCost
from vrtspike.profiling.parts import RecorderPart
from vrtspike.profiling.recording_budget import (
    MAX_EVERY_STEPS,
    WINDOW_STEPS,
    RecordingBudget,
)
from vrtspike.profiling.records import StagesRecord, StepRecord
from vrtspike.profiling.settings import ProfilingConfig

STAGES = (StagesRecord(step=1, phase="forward", clock="host", ms={"a": 1.0}, calls={"a": 1}),)


class Host:
    facts_dir = None

    def __init__(self):
        self.events = []

    def tag(self, tag):
        raise AssertionError("thinned steps are ordinary ones")

    def event(self, name, **values):
        self.events.append((name, values))


class Run:
    """Steps of a known length; an observed one costs `stages_ms` more."""

    def __init__(self, clock, budget_share=0.01, plain_ms=0.2, stages_ms=2.0, stages=STAGES):
        self.host, self.now = Host(), 0
        self.budget = RecordingBudget(OwnCost(clock.perf_ns), budget_share)
        self.budget.start(self.host)
        self.plain_ms, self.stages_ms, self.stages = plain_ms, stages_ms, stages
        self.observed = []

    def steps(self, count, step_ms=100.0, tags=(), factor=1.0):
        for _ in range(count):
            self.now += 1
            observed = bool(self.stages) and self.budget.observes(self.now)
            self.observed += [self.now] * observed
            cost_ms = factor * (self.plain_ms + self.stages_ms * observed)
            record = StepRecord(
                step=self.now,
                start_unix_s=0.0,
                micro_batches=1,
                samples=1,
                clock="host",
                host_ms={"step": step_ms},
                tags=tags,
                recorder_ms=cost_ms,
            )
            self.budget.on_step(record, self.stages if observed else ())


def test_within_the_budget_nothing_changes(clock):
    run = Run(clock, stages_ms=0.7)
    run.steps(500)
    assert run.host.events == []
    assert run.observed == list(range(1, 501))


def test_n_doubles_until_the_cost_is_within_the_budget(clock):
    run = Run(clock)  # 2.2 % with stages, 0.2 % without: (2.2 + 0.2 (n - 1)) / n <= 1 at n = 4
    run.steps(WINDOW_STEPS)
    assert run.host.events == [
        ("recording_thinned", {"every_steps": 2, "cost_share": 0.022, "budget_share": 0.01})
    ]
    run.steps(500)
    assert [values["every_steps"] for _, values in run.host.events] == [2, 4]
    assert run.host.events[1][1]["cost_share"] == 0.012
    assert [step % 4 for step in run.observed[-50:]] == [0] * 50


def test_tagged_steps_and_single_slow_ones_move_nothing(clock):
    run = Run(clock, stages_ms=0.7)
    run.steps(300, tags=("profiled",), factor=100)
    for _ in range(20):
        run.steps(9)
        run.steps(1, factor=100)
    assert run.host.events == []


def test_longer_steps_are_observed_more_often_again(clock):
    run = Run(clock)
    run.steps(1000)
    assert run.budget.every_steps == 4
    run.steps(5000, step_ms=1000.0)
    assert run.budget.every_steps == 1
    assert [values["every_steps"] for _, values in run.host.events] == [2, 4, 2, 1]


def test_a_cost_that_thinning_cannot_reach_is_said_once(clock):
    run = Run(clock, plain_ms=5.0)
    run.steps(20_000)
    names = [name for name, _ in run.host.events]
    assert names == ["recording_thinned"] * 6 + ["recording_over_budget"]
    assert run.budget.every_steps == MAX_EVERY_STEPS
    assert run.host.events[-1][1] == {"cost_share": 0.05031, "budget_share": 0.01}


def test_without_stages_there_is_nothing_to_thin(clock):
    run = Run(clock, plain_ms=5.0, stages=())
    run.steps(2000)
    assert run.host.events == [
        ("recording_over_budget", {"cost_share": 0.05, "budget_share": 0.01})
    ]
    assert run.budget.every_steps == 1


def test_no_budget_never_thins(clock):
    run = Run(clock, budget_share=None, stages_ms=90.0)
    run.steps(1000)
    assert run.host.events == []


def test_what_is_kept_does_not_grow_with_the_run(clock):
    run = Run(clock, budget_share=0.5)
    run.steps(10_000)
    budget = run.budget
    assert len(budget._observed_ms + budget._unobserved_ms + budget._steps_ms) < 2 * WINDOW_STEPS


@pytest.mark.parametrize("share", [0, -0.1, 1.5])
def test_a_budget_is_a_share(share):
    with pytest.raises(ValueError, match="budget_share: must be null or in"):
        ProfilingConfig(budget_share=share)


def test_the_sum_of_what_is_taken_is_what_was_spent(clock):
    cost = OwnCost(clock.perf_ns)
    cost.begin()
    clock.pass_ms(3)
    assert cost.take_ms() == 3  # within the work that goes on
    clock.pass_ms(2)
    cost.end()
    clock.pass_ms(100)
    cost.begin()
    clock.pass_ms(1)
    cost.end()
    assert cost.take_ms() == 3
    assert cost.take_ms() == 0


class Costly(RecorderPart):
    """A part that takes its time where the recorder calls it."""

    def __init__(self, clock):
        self.clock = clock

    def step_begins(self, step):
        self.clock.pass_ms(1)

    def step_ends(self, step):
        self.clock.pass_ms(2)
        return {}


class Slow(nn.Module):
    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def forward(self, x):
        self.clock.pass_ms(50)
        return x


def test_every_step_states_what_the_recorder_itself_spent(new_recorder, clock, heard):
    with new_recorder(parts=(Costly(clock),)) as recorder:
        for step in (1, 2, 3):
            recorder.begin_step(step)
            with recorder.phase("forward"):
                clock.pass_ms(7)
            recorder.end_step(micro_batches=1, samples=1)
    assert [step.recorder_ms for step in heard.steps] == [3.0, 3.0, 3.0]
    assert [step.host_ms["step"] for step in heard.steps] == [10, 10, 10]


def test_a_recorder_that_costs_too_much_times_stages_in_fewer_steps(
    new_recorder, clock, heard, read_lines, tmp_path
):
    settings = ProfilingConfig(resources=False, budget_share=0.05)  # 3 of 53 ms are more
    model = nn.Sequential(Slow(clock))
    with new_recorder(settings=settings, parts=(Costly(clock),)) as recorder:
        recorder.observe(model, {"a": ["0"]})
        for step in range(1, 41):
            recorder.begin_step(step)
            with recorder.phase("forward"):
                model(zeros(1))
            recorder.end_step(micro_batches=1, samples=1)
    timed = [record.step for record in heard.stages]
    assert timed == [*range(1, 26), *range(26, 41, 2)]  # the first step is tagged
    assert {step.host_ms["forward"] for step in heard.steps} == {50}
    (event,) = [event for event in heard.events if event.name == "recording_thinned"]
    assert event.step == 25
    lines = read_lines(tmp_path / "facts/steps.rank0.jsonl")
    assert all(line["recorder_ms"] == 3.0 for line in lines)
    assert all(record.ms["a"] == 50 for record in heard.stages)
