"""Times of the exchange of gradients, by a clock and by events that the test moves."""

from dataclasses import dataclass

import pytest
import torch
from torch.futures import Future

from tests.vrtspike.profiling.conftest import FakeClock, FakeDevice
from vrtspike.profiling.communication import Communication
from vrtspike.profiling.timers import HostTimer

BUFFER = torch.zeros(10)


@dataclass
class Bucket:
    """What is asked of a bucket of DDP's."""

    last: bool

    def buffer(self) -> torch.Tensor:
        return BUFFER

    def is_last(self) -> bool:
        return self.last


class Bench:
    """A part on a clock, and exchanges that complete when told."""

    def __init__(self, clock: FakeClock, device: FakeDevice | None = None) -> None:
        self.clock = clock
        self.part = Communication(device.timer() if device else HostTimer(clock))
        self.futures: list[Future] = []
        self.hook = self.part.timed(self.start)

    def start(self, state: object, bucket: Bucket) -> Future:
        self.clock.pass_ms(2)
        self.futures.append(Future())
        return self.futures[-1]

    def complete(self, number: int) -> None:
        self.futures[number].set_result(BUFFER)


@pytest.fixture
def bench():
    return Bench(FakeClock())


def test_hidden_is_what_lies_before_the_last_gradient(bench):
    bench.part.step_begins(1)
    first = bench.hook(None, Bucket(last=False))
    bench.clock.pass_ms(10)
    bench.complete(0)
    bench.clock.pass_ms(5)
    bench.hook(None, Bucket(last=True))
    bench.clock.pass_ms(7)
    bench.complete(1)
    record = bench.part.step_ends(1)["communication"]()
    assert first.value() is BUFFER
    assert (record.ms, record.exposed_ms, record.launch_ms) == (17, 7, 4)
    assert (record.buckets, record.bytes, record.exchanges) == (2, 80, 1)
    assert (record.clock, record.wait_ms) == ("host", 0)


def test_exchanges_at_the_same_time_count_once_and_an_early_one_may_end_last(bench):
    bench.part.step_begins(1)
    bench.hook(None, Bucket(last=False))
    bench.hook(None, Bucket(last=True))  # launched 2 ms later
    bench.clock.pass_ms(3)
    bench.complete(1)
    bench.clock.pass_ms(4)
    bench.complete(0)
    record = bench.part.step_ends(1)["communication"]()
    assert (record.ms, record.exposed_ms) == (9, 7)


def test_every_backward_that_ends_in_an_exchange_is_counted_and_exposed(bench):
    """As without `no_sync`, where each micro-batch exchanges its gradients."""
    bench.part.step_begins(1)
    for number in range(3):
        bench.hook(None, Bucket(last=True))
        bench.clock.pass_ms(5)
        bench.complete(number)
        bench.clock.pass_ms(100)
    record = bench.part.step_ends(1)["communication"]()
    assert (record.exchanges, record.ms, record.exposed_ms) == (3, 15, 15)


def test_waits_count_within_a_step_only(bench):
    def wait(ms: float) -> None:
        with bench.part.waiting():
            bench.clock.pass_ms(ms)

    wait(50)
    bench.part.step_begins(1)
    wait(3)
    wait(4)
    fields = bench.part.step_ends(1)
    wait(60)
    bench.part.step_begins(2)
    assert fields["communication"]().wait_ms == 7
    assert not bench.part.step_ends(2)


def test_an_abandoned_step_leaves_nothing_to_the_next(bench):
    bench.part.step_begins(1)
    bench.hook(None, Bucket(last=True))
    bench.part.step_begins(1)
    assert not bench.part.step_ends(1)


def test_an_exchange_that_never_completed_gives_no_times(bench):
    bench.part.step_begins(1)
    bench.hook(None, Bucket(last=True))
    assert bench.part.step_ends(1)["communication"]() is None


def test_events_are_read_once_passed_and_used_again():
    device = FakeDevice(clock := FakeClock())
    bench = Bench(clock, device)
    for step in (1, 2, 3):
        bench.part.step_begins(step)
        bench.hook(None, Bucket(last=True))
        clock.pass_ms(6)
        bench.complete(step - 1)
        with bench.part.waiting():
            clock.pass_ms(1)
        read = bench.part.step_ends(step)["communication"]
        device.reach_all()
        record = read()
        assert (record.clock, record.exposed_ms, record.wait_ms) == ("device", 6, 1)
    assert len(device.events) == 5, "each step uses the events of the one before"
    assert device.synchronized == 0


def test_an_event_that_is_not_passed_gives_no_times_and_is_not_waited_for():
    device = FakeDevice(clock := FakeClock())
    bench = Bench(clock, device)
    bench.part.step_begins(1)
    bench.hook(None, Bucket(last=True))
    bench.complete(0)
    assert bench.part.step_ends(1)["communication"]() is None
    assert device.synchronized == 0


def test_what_a_hook_raises_reaches_the_caller(bench):
    bench.part.step_begins(1)
    future = bench.hook(None, Bucket(last=True))
    bench.futures[0].set_exception(RuntimeError("Connection closed by peer"))
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        future.wait()
