"""Device times are read when the device has passed its events, and never waited for."""

import pytest
import torch
from torch import nn

from vrtspike.profiling.cuda_events import MAX_SCALARS
from vrtspike.profiling.pending import MOST_TOGETHER


def run_step(recorder, clock, step, spent, **end):
    recorder.begin_step(step)
    for name, ms in spent:
        with recorder.phase(name):
            clock.pass_ms(ms)
    clock.pass_ms(1)
    recorder.end_step(micro_batches=1, samples=1, **end)


def test_steps_come_out_in_order_when_the_device_is_late(new_recorder, clock, device, heard):
    with new_recorder(timer=device.timer()) as recorder:
        run_step(recorder, clock, 1, [("forward", 110)], loss=torch.tensor(1.0))
        forward_of_first = device.events[2]
        run_step(recorder, clock, 2, [("forward", 120)], loss=torch.tensor(2.0))
        device.reach([event for event in device.events if event is not forward_of_first])
        run_step(recorder, clock, 3, [("forward", 130)], loss=torch.tensor(3.0))
        assert heard.steps == []
        device.reach([forward_of_first])
        run_step(recorder, clock, 4, [("forward", 140)], loss=torch.tensor(4.0))
        assert [s.step for s in heard.steps] == [1, 2]
        assert device.synchronized == 0
    assert [s.step for s in heard.steps] == [1, 2, 3, 4]
    assert [s.loss for s in heard.steps] == [1.0, 2.0, 3.0, 4.0]
    assert device.synchronized == 1


def test_device_phases_and_stages_sum_by_their_own_clock(new_recorder, clock, device, heard):
    class Slow(nn.Module):
        def forward(self, x):
            clock.pass_ms(4)
            return x

    model = nn.Sequential(Slow(), Slow())
    with new_recorder(timer=device.timer()) as recorder:
        recorder.observe(model, {"a": ["0"], "b": ["1"]})
        recorder.begin_step(1)
        with recorder.phase("forward"):
            model(torch.zeros(1))
            clock.pass_ms(2)
        with recorder.phase("backward"):
            clock.pass_ms(30)
            with recorder.phase("optimizer"):
                clock.pass_ms(5)
        clock.pass_ms(3)
        recorder.end_step(micro_batches=1, samples=1)
    step = heard.steps[0]
    assert step.clock == "device"
    assert step.device_ms == {
        "data_wait": 0.0,
        "h2d": 0.0,
        "forward": 10.0,
        "loss": 0.0,
        "backward": 30.0,
        "optimizer": 5.0,
        "other": 3.0,
        "step": 48.0,
    }
    stages = heard.stages[0]
    assert (stages.clock, stages.ms) == ("device", {"a": 4.0, "b": 4.0, "forward.other": 2.0})
    assert recorder.run.clock == "device"


def test_events_and_buffers_are_used_again(new_recorder, clock, device):
    with new_recorder(timer=device.timer()) as recorder:
        for step in range(1, 2 * MOST_TOGETHER):
            run_step(recorder, clock, step, [("forward", 1), ("backward", 2)])
            device.reach_all()
        made = len(device.events)
        for step in range(2 * MOST_TOGETHER, 500):
            run_step(recorder, clock, step, [("forward", 1), ("backward", 2)])
            device.reach_all()
        assert len(device.events) == made


def test_one_event_not_passed_holds_the_step_back(new_recorder, clock, device, heard):
    with new_recorder(timer=device.timer()) as recorder:
        run_step(recorder, clock, 1, [("h2d", 1)])
        device.reach_all()
        device.events[1].reached = False
        run_step(recorder, clock, 2, [])
        assert heard.steps == []


def test_a_failed_device_costs_its_times_only(new_recorder, clock, device, heard):
    with new_recorder(timer=device.timer()) as recorder:
        run_step(recorder, clock, 1, [("forward", 10)], loss=torch.tensor(1.0))
        device.failed = True
        recorder.finish("failed")
    assert [(s.step, s.device_ms, s.clock, s.loss) for s in heard.steps] == [
        (1, None, "host", None)
    ]
    assert heard.steps[0].host_ms["forward"] == 10
    assert heard.events[0].name == "device_times_lost"


def test_device_scalars_are_copied_in_order_and_host_values_kept(device):
    timer = device.timer()
    loss = torch.tensor(1.5, requires_grad=True)
    read = timer.read([loss, 2.5, torch.tensor([3], dtype=torch.int64)])
    with torch.no_grad():
        loss.fill_(9.0)
    again = timer.read([torch.tensor(7.0)])
    assert read() == [1.5, 2.5, 3.0]
    assert again() == [7.0]
    made = len(device.buffers)
    for number in range(5):
        assert timer.read([torch.tensor(float(number))])() == [number]
    assert len(device.buffers) == made == 2
    assert timer.read([4.0, 5.0])() == [4.0, 5.0]
    with pytest.raises(ValueError, match=f"at most {MAX_SCALARS} device scalars a step, got 40"):
        timer.read([torch.tensor(1.0)] * 40)
