"""Waits, queue, making and copies of a step; on a fake clock, without processes."""

from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from vrtspike.profiling.loader_facts import LoaderFacts, batches_ready, tensors_of
from vrtspike.profiling.loading_clock import TimedBatch
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.settings import ProfilingConfig

QUIET = ProfilingConfig(resources=False)
BATCH_MS, STEP_MS = 80, 100


class FakeLoader:
    """Iterates like PyTorch's loader: `workers` processes make batches of 80 ms ahead of time."""

    def __init__(self, clock, timing, workers, batches=6, prefetch=2):
        self.clock, self.timing = clock, timing
        self.workers, self.batches, self.prefetch = workers, batches, prefetch

    def __iter__(self):
        return FakeIterator(self) if self.workers else self._made_here()

    def _made_here(self):
        for number in range(self.batches):
            self.clock.pass_ms(BATCH_MS)
            yield self._batch(number, None)

    def _batch(self, number, worker):
        for _ in range(2):  # the clock of a process: its samples, then their collation
            with self.timing.sample(), self.timing.part("decode"):
                pass
        return TimedBatch({"x": torch.full((2,), float(number))}, self.timing.pack(2, worker))


class FakeIterator:
    """Batch n is made by worker n % workers, as soon as it has time and may run ahead so far."""

    def __init__(self, loader):
        self.loader, self.taken = loader, 0
        start = loader.clock.now_ns
        self.free = [start] * loader.workers
        self.done = []
        self._task_info = {}
        self._data_queue = self
        for _ in range(loader.prefetch * loader.workers):
            self._send()

    def _send(self):
        worker = len(self.done) % self.loader.workers
        began = max(self.free[worker], self.loader.clock.now_ns)
        self.free[worker] = began + BATCH_MS * 1_000_000
        self.done.append(self.free[worker])

    def qsize(self):
        now = self.loader.clock.now_ns
        return sum(done <= now for done in self.done[self.taken :])

    def __iter__(self):
        return self

    def __next__(self):
        number = self.taken
        if number == self.loader.batches:
            raise StopIteration
        clock = self.loader.clock
        now, done = clock.now_ns, self.done[number]
        clock.now_ns = done
        batch = self.loader._batch(number, number % self.loader.workers)
        clock.now_ns = max(now, done)
        self.taken += 1
        self._send()
        return batch


def record_run(new_recorder, clock, workers, device=None, step_ms=STEP_MS):
    """One step for each of six batches, fetched as a trainer does."""
    facts = LoaderFacts(device, perf_ns=clock.perf_ns)
    batches = facts.fetches(iter(FakeLoader(clock, facts.clock, workers)))
    seen = []
    with new_recorder(plan=RecordingPlan(settings=QUIET, parts=(facts,))) as recorder:
        for step in range(1, 7):
            recorder.begin_step(step)
            with recorder.phase("data_wait"):
                batch = next(batches)
            facts.copied(tensors_of(batch))
            seen.append(batch["x"][0].item())
            with recorder.phase("forward"):
                clock.pass_ms(step_ms)
            recorder.end_step(micro_batches=1, samples=2)
    return seen


def test_a_slow_loader_shows_as_data_wait(new_recorder, clock, heard):
    assert record_run(new_recorder, clock, workers=0) == [0, 1, 2, 3, 4, 5]
    for record in heard.steps:
        assert record.host_ms["data_wait"] == BATCH_MS
        (fetch,) = record.loader.fetches
        assert fetch.wait_ms == BATCH_MS
        assert (fetch.ready, fetch.worker, fetch.queued_ms) == (None, None, None)


def test_the_same_slowness_behind_prefetching_workers_does_not(new_recorder, clock, heard):
    assert record_run(new_recorder, clock, workers=2) == [0, 1, 2, 3, 4, 5]
    assert heard.steps[0].host_ms["data_wait"] == BATCH_MS  # nothing was ahead yet
    assert [record.host_ms["data_wait"] for record in heard.steps[1:]] == [0] * 5
    fetches = [record.loader.fetches[0] for record in heard.steps]
    assert fetches[0].ready == 0
    assert all(fetch.ready >= 1 for fetch in fetches[1:])
    assert [fetch.worker for fetch in fetches] == [0, 1, 0, 1, 0, 1]
    assert fetches[0].queued_ms == 0
    assert fetches[1].queued_ms == STEP_MS


def test_workers_that_cannot_keep_up_show_as_data_wait_again(new_recorder, clock, heard):
    record_run(new_recorder, clock, workers=1, step_ms=50)
    assert [record.host_ms["data_wait"] for record in heard.steps] == [80, 30, 30, 30, 30, 30]
    assert {record.loader.fetches[0].ready for record in heard.steps} == {0}


def test_fetches_of_all_micro_batches_belong_to_their_step(clock, heard, new_recorder):
    facts = LoaderFacts(perf_ns=clock.perf_ns)
    with new_recorder(plan=RecordingPlan(settings=QUIET, parts=(facts,))) as recorder:
        batches = facts.fetches(iter(FakeLoader(clock, facts.clock, 2)))
        for step, count in ((1, 3), (2, 1)):
            recorder.begin_step(step)
            for _ in range(count):
                next(batches)
            recorder.end_step(micro_batches=count, samples=2 * count)
    assert [len(record.loader.fetches) for record in heard.steps] == [3, 1]


def test_the_first_fetch_after_each_start_of_the_loader_says_so(clock, heard, new_recorder):
    facts = LoaderFacts(perf_ns=clock.perf_ns)
    with new_recorder(plan=RecordingPlan(settings=QUIET, parts=(facts,))) as recorder:
        recorder.begin_step(1)
        for _ in range(2):  # an epoch ends within the step
            list(islice(facts.fetches(iter(FakeLoader(clock, facts.clock, 2))), 2))
        recorder.end_step(micro_batches=4, samples=8)
    (record,) = heard.steps
    assert [fetch.is_first for fetch in record.loader.fetches] == [True, False, True, False]


def test_an_untimed_loader_leaves_the_parts_unknown(clock, heard, new_recorder, read_lines):
    facts = LoaderFacts(perf_ns=clock.perf_ns)
    with new_recorder(plan=RecordingPlan(settings=QUIET, parts=(facts,))) as recorder:
        for batch in facts.fetches(iter([torch.ones(2)])):
            assert torch.equal(batch, torch.ones(2))
            recorder.begin_step(1)
            recorder.end_step(micro_batches=1, samples=2)
        recorder.begin_step(2)
        recorder.end_step(micro_batches=1, samples=2)
    (line, without) = read_lines(recorder.facts_dir / "steps.rank0.jsonl")
    (fetch,) = line["loader"]["fetches"]
    assert line["loader"]["part_ms"] is None
    assert fetch["is_first"] is True
    assert set(fetch) - {"wait_ms", "is_first"} == {k for k in fetch if fetch[k] is None}
    assert (without["loader"], without["copy"]) == (None, None)


@dataclass
class Pair:
    left: torch.Tensor
    right: torch.Tensor


def test_copied_bytes_and_whether_they_were_pinned(new_recorder, clock, heard, monkeypatch):
    pinned = torch.zeros(3, 4)
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: tensor is pinned)
    facts = LoaderFacts(torch.device("cuda"), perf_ns=clock.perf_ns)
    with new_recorder(plan=RecordingPlan(settings=QUIET, parts=(facts,))) as recorder:
        recorder.begin_step(1)
        facts.copied([pinned, torch.zeros(5, dtype=torch.float64)])
        facts.copied([torch.zeros(1, device="meta")])  # not on the host: nothing to copy
        recorder.end_step(micro_batches=1, samples=1)
    copy = heard.steps[0].copy
    assert (copy.bytes, copy.pinned_bytes) == (48 + 40, 48)


def test_on_a_cpu_nothing_is_copied(new_recorder, clock, heard):
    record_run(new_recorder, clock, 0, torch.device("cpu"))
    assert {record.copy for record in heard.steps} == {None}
    heard.steps.clear()
    record_run(new_recorder, clock, 0, torch.device("cuda"))
    assert {record.copy.bytes for record in heard.steps} == {8}


def test_who_is_not_recorded_keeps_nothing(clock):
    facts = LoaderFacts(torch.device("cuda"), perf_ns=clock.perf_ns)
    for batch in facts.fetches(iter(FakeLoader(clock, facts.clock, 0))):
        facts.copied(tensors_of(batch))
    assert facts.step_ends(1) == {}
    facts.start(None)
    facts.copied([torch.zeros(1)])
    facts.finish()
    assert facts.step_ends(1) == {}


def test_a_step_that_never_ends_does_not_fill_the_memory(clock):
    facts = LoaderFacts(perf_ns=clock.perf_ns)
    facts.start(None)
    for _ in facts.fetches(iter(range(5000))):
        pass
    assert len(facts.step_ends(1)["loader"]().fetches) == 4096


def iterator_with(qsize, tasks):
    """PyTorch's iterator, as far as it is looked at."""
    return SimpleNamespace(_data_queue=SimpleNamespace(qsize=qsize), _task_info=tasks)


def refuses():
    raise NotImplementedError  # as macOS does


@pytest.mark.parametrize(
    "iterator",
    [iter(()), object(), iterator_with(refuses, {}), iterator_with(lambda: 2, {1: 7})],
)
def test_a_queue_that_cannot_be_seen_is_unknown(iterator):
    assert batches_ready(iterator) is None


def test_batches_that_came_before_their_turn_are_ready_too():
    tasks = {4: (0,), 5: (1, "batch"), 6: (0,)}
    assert batches_ready(iterator_with(lambda: 2, tasks)) == 3


def test_tensors_are_found_in_every_usual_kind_of_batch():
    x = [torch.zeros(n) for n in range(6)]
    batch = {"a": x[0], "b": [x[1], (x[2], "text", 7)], "c": Pair(x[3], x[4]), "d": None}
    assert [len(tensor) for tensor in tensors_of((batch, x[5]))] == [0, 1, 2, 3, 4, 5]
    circle: list = []
    circle.append(circle)
    assert list(tensors_of(circle)) == []
