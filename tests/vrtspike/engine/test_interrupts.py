import os
import signal
import sys

import pytest

from vrtspike.engine.interrupts import StopRequest


def test_the_first_ctrl_c_asks_and_a_later_one_stops_at_once():
    now = iter([10.0, 10.2, 12.0])
    stop = StopRequest(clock=lambda: next(now))
    stop.receive(signal.SIGINT)
    assert (stop.requested, stop.exit_code, stop.signal_name) == (True, 130, "SIGINT")
    stop.receive(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        stop.receive(signal.SIGINT)


def test_sigterm_ends_with_143_and_the_first_signal_counts():
    stop = StopRequest()
    assert (stop.requested, stop.exit_code) == (False, 0)
    stop.receive(signal.SIGTERM)
    stop.receive(signal.SIGTERM)
    assert stop.exit_code == 143


@pytest.fixture(autouse=True)
def child_handler():
    """What a DataLoader installs; every test leaves the process as it was."""
    before = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    yield signal.getsignal(signal.SIGCHLD)
    signal.signal(signal.SIGCHLD, before)


def test_dying_children_no_longer_disturb_once_a_stop_was_asked_for(child_handler):
    stop = StopRequest()
    assert signal.getsignal(signal.SIGCHLD) is child_handler
    stop.receive(signal.SIGTERM)
    assert signal.getsignal(signal.SIGCHLD) is not child_handler
    signal.raise_signal(signal.SIGCHLD)


def test_a_child_that_dies_of_the_same_signal_leaves_no_traceback(monkeypatch):
    """Both signals are due at once; the handler of the first takes that of the second away."""
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    both = {signal.SIGTERM, signal.SIGCHLD}
    with StopRequest().listening() as stop:
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        for number in both:
            signal.raise_signal(number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
    assert stop.requested
    assert complaints == []


def test_handlers_are_there_inside_and_gone_outside():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest().listening() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before
