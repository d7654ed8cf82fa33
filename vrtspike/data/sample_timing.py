"""Times a few samples of the real data set, as a loading process would make them."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import torch

from vrtspike.data import lean
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.loading_need import SampleCost, TimedSample, typical_cost
from vrtspike.errors import DataError
from vrtspike.profiling.kernel_files import read_small
from vrtspike.profiling.loading_clock import LoadingClock, PerfNs, SilentTimer, unpack_timing

MOST_SAMPLES, MOST_S = 8, 2.0
"""What a start may spend on it: so many samples, and none more once the time is over."""
_MOST_READINGS = 8
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def time_samples(
    dataset: SpikeDeblurDataset,
    *,
    most: int = MOST_SAMPLES,
    budget_s: float = MOST_S,
    perf_ns: PerfNs | None = None,
    wall_ns: PerfNs = time.perf_counter_ns,
    cpu_ns: Callable[[], int] = time.thread_time_ns,
) -> tuple[SampleCost | None, str]:
    """The price of a sample, from samples spread over the data set; each is read only once.

    One more is made before them and not counted, since the first one loads libraries. What is on
    disk and not in the system's memory is read from disk, as in the first epoch. Do so before the
    data set is given a cache or a clock of its own.

    Args:
        dataset: For training.
        most: How many to time, at least 1.
        budget_s: No further one is begun once so much time is spent.
        perf_ns: What samples are timed by: monotonic, and by default without this thread's waits
            for a core, which more processes would not shorten.
        wall_ns: A monotonic clock, for the budget.
        cpu_ns: Processor time of this thread.

    Returns:
        The price, or None and why there is none.
    """
    began_ns = wall_ns()
    clock = LoadingClock(perf_ns=perf_ns or undisturbed_ns)
    timed: list[TimedSample] = []
    problem = ""
    dataset.use_clock(clock)
    try:
        with one_thread():
            _time_one(dataset, len(dataset) - 1, clock, cpu_ns)
            for index in spread(len(dataset), most):
                sample, problem = _time_one(dataset, index, clock, cpu_ns)
                if sample is not None:
                    timed.append(sample)
                if wall_ns() - began_ns > budget_s * 1e9:
                    break
    finally:
        dataset.use_clock(SilentTimer())
    spent_ms = (wall_ns() - began_ns) / 1e6
    if not timed:
        return None, problem
    return typical_cost(timed, spent_ms), ""


def undisturbed_ns(
    schedule: str = "/proc/thread-self/schedstat", perf_ns: PerfNs = time.perf_counter_ns
) -> int:
    """A clock that stands while this thread could run and has no core.

    The kernel counts that wait; where it does not tell, the clock is the usual one. A wait between
    the two readings would be in one of them only, so that they are taken again.
    """
    waited_ns = _waited_ns(schedule)
    for _ in range(_MOST_READINGS):
        now_ns, before_ns = perf_ns(), waited_ns
        waited_ns = _waited_ns(schedule)
        if waited_ns == before_ns:
            break
    return now_ns - waited_ns


def _waited_ns(schedule: str) -> int:
    words = (read_small(schedule) or "").split()
    return int(words[1]) if len(words) == 3 and words[1].isdigit() else 0


def spread(length: int, count: int) -> list[int]:
    """At most `count` numbers below `length`, evenly far from each other, each once."""
    count = min(count, length)
    return [length * place // count for place in range(count)]


def _time_one(
    dataset: SpikeDeblurDataset, index: int, clock: LoadingClock, cpu_ns: Callable[[], int]
) -> tuple[TimedSample | None, str]:
    clock.forget()
    began_ns = cpu_ns()
    try:
        made = clock.collating(lean.collate)([dataset[index]])
    except DataError as error:
        return None, f"a sample could not be loaded: {error}"
    spent_ns = cpu_ns() - began_ns
    timing = unpack_timing(made.timing)
    assert timing is not None  # one sample was made, and one was collated
    part_ms = {name: ns / 1e6 for name, ns in timing.part_ns.items()}
    return TimedSample(part_ms=part_ms, cpu_ms=spent_ns / 1e6), ""


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside, as in a loading process; then as many as there were."""
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)


def keep_to_one_thread() -> None:
    """For a loading process: what it runs, and what it loads later, uses one core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
