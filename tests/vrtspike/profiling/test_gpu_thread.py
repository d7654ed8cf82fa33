"""NVML asked in a thread of its own: late answers, hanging drivers, machines without a GPU."""

import threading

from vrtspike.profiling.gpu_thread import HUNG_AFTER_S, GpuThread
from vrtspike.profiling.records import GpuRecord

PATIENCE_S = 20.0


class FakeGpus:
    """Answers with the number of the sample as power; waits at the gate if it is closed."""

    absent_reason = None

    def __init__(self):
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()
        self.num_samples = self.num_closed = 0

    def sample(self):
        self.num_samples += 1
        if not self.gate.is_set():
            self.waiting.set()
            self.gate.wait(PATIENCE_S)
        return (GpuRecord(index=0, uuid="GPU-1", name="A", power_w=float(self.num_samples)),)

    def close(self):
        self.num_closed += 1


class NoGpus(FakeGpus):
    absent_reason = "no driver"

    def sample(self):
        self.num_samples += 1


def ask(thread, patience_s=PATIENCE_S):
    thread.request()
    return thread.result(patience_s)


def test_every_request_is_answered_in_turn():
    gpus = FakeGpus()
    thread = GpuThread(lambda: gpus)
    assert [ask(thread).records[0].power_w for _ in range(3)] == [1, 2, 3]
    thread.close()
    assert gpus.num_closed == 1


def test_a_driver_that_hangs_is_a_fact_and_its_late_answer_is_used():
    now = [100.0]
    gpus = FakeGpus()
    thread = GpuThread(lambda: gpus, lambda: now[0])
    assert ask(thread).records[0].error is None
    gpus.gate.clear()
    assert ask(thread, 0.001).records == ()
    now[0] += HUNG_AFTER_S
    (hung,) = ask(thread, 0.001).records
    assert (hung.uuid, hung.power_w, hung.error) == ("GPU-1", None, "NVML does not answer")
    assert gpus.waiting.wait(PATIENCE_S)
    gpus.gate.set()
    (late,) = ask(thread).records
    assert (late.power_w, late.error) == (2, None)
    assert ask(thread).records[0].power_w == 3
    thread.close()


def test_a_driver_that_has_not_answered_yet_is_no_missing_gpu():
    gpus = FakeGpus()
    gpus.gate.clear()
    thread = GpuThread(lambda: gpus)
    early = ask(thread, 0.001)
    assert (early.records, early.absent_reason) == (None, "NVML has not answered yet")
    gpus.gate.set()
    assert ask(thread).records[0].power_w == 1
    thread.close()


def test_where_there_is_no_gpu_it_asks_once():
    gpus = NoGpus()
    thread = GpuThread(lambda: gpus)
    found = [ask(thread) for _ in range(3)]
    thread.close()
    assert {(each.records, each.absent_reason) for each in found} == {(None, "no driver")}
    assert gpus.num_samples == 1
