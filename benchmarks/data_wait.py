"""Does a slow loader show as data wait, and only then? What do the workers' timings cost a batch?

    python benchmarks/data_wait.py [--sleep-ms 80] [--step-ms 120] [--steps 40] [--batches 300]

First: a data set that sleeps, in the training process, behind prefetching workers that keep up,
and behind workers that do not; each run is recorded and read back by the report's own analyses.
Then: what timing costs a batch, and handing the timing over as packed bytes or as a small tensor;
the least processor time of several groups, so that a busy machine changes it little.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from diagnostics.analyses.loading import compute_loading
from diagnostics.analyses.step_breakdown import compute_step_breakdown
from diagnostics.load import load_run
from vrtspike.profiling.loader_facts import LoaderFacts
from vrtspike.profiling.loading_clock import LoadingClock, TimedBatch, unpack_timing
from vrtspike.profiling.recorder import Recorder
from vrtspike.profiling.recording import RecordingPlan
from vrtspike.profiling.records import RunRecord
from vrtspike.profiling.settings import ProfilingConfig


class SleepingSet(Dataset[Tensor]):
    """Each sample takes a known time, called decoding."""

    def __init__(self, samples: int, sleep_s: float, clock: LoadingClock) -> None:
        self._samples, self._sleep_s, self._clock = samples, sleep_s, clock

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: int) -> Tensor:
        with self._clock.sample(), self._clock.part("decode"):
            time.sleep(self._sleep_s)
        return torch.zeros(8)


def record_run(workers: int, sleep_s: float, step_s: float, steps: int) -> list[str]:
    """The row of the first table."""
    facts = LoaderFacts()
    dataset = SleepingSet(steps, sleep_s, facts.clock)
    loader = DataLoader(
        dataset, num_workers=workers, collate_fn=facts.clock.collating(default_collate)
    )
    run = RunRecord(run_id="data_wait", started_at="2026-01-01T00:00:00+00:00", status="running")
    with tempfile.TemporaryDirectory() as folder:
        plan = RecordingPlan(settings=ProfilingConfig(resources=False), parts=(facts,))
        with Recorder(
            facts_dir=Path(folder), run=run, plan=plan, device=torch.device("cpu")
        ) as recorder:
            batches = facts.fetches(iter(loader))
            for step in range(1, steps + 1):
                recorder.begin_step(step)
                with recorder.phase("data_wait"):
                    next(batches)
                with recorder.phase("forward"):
                    time.sleep(step_s)
                recorder.end_step(micro_batches=1, samples=1)
        read = load_run([Path(folder)])
    data, loading = compute_step_breakdown(read).data_against_compute, compute_loading(read)
    assert data is not None
    assert loading.made is not None
    queue = loading.queue
    return [
        str(workers),
        f"{data.data_wait_ms:.2f}",
        f"{data.step_ms:.1f}",
        f"{loading.made.mean_ms:.2f}",
        f"{loading.supply_ms:.2f}",
        "-" if queue is None else f"{queue.empty_share:.0%}",
        "-" if loading.queued is None else f"{loading.queued.mean_ms:.1f}",
    ]


def time_one_sample(clock: LoadingClock) -> None:
    """What the clock does for a sample of ours: once the whole, and eleven parts."""
    with clock.sample():
        for _ in range(11):
            with clock.part("decode"):
                pass


def timed_batch(clock: LoadingClock) -> TimedBatch:
    """Two samples and their collation, timed; the batch itself is left out."""
    for _ in range(2):
        time_one_sample(clock)
    return clock.collating(lambda samples: None)([None, None])


def handed_over(content: Any) -> Any:
    """Pickled and read back as between two processes: tensors by file descriptors."""
    return ForkingPickler.loads(ForkingPickler.dumps((7, content)))


def least_us(action: Callable[[], object], batches: int, groups: int) -> float:
    """Processor time of this process, all threads, in µs a call: the least of the groups."""
    found = []
    for _ in range(groups):
        began_ns = time.process_time_ns()
        for _ in range(batches):
            action()
        found.append((time.process_time_ns() - began_ns) / batches / 1e3)
    return min(found)


def cost_rows(batches: int, groups: int) -> list[list[str]]:
    """The rows of the second table."""
    clock = LoadingClock()
    timing = timed_batch(clock).timing
    tensor = torch.frombuffer(bytearray(timing), dtype=torch.uint8).clone()
    actions: dict[str, Callable[[], object]] = {
        "timing two samples and their collation": lambda: timed_batch(clock),
        "handing over nothing": lambda: handed_over(None),
        "handing over packed bytes": lambda: handed_over(TimedBatch(None, timing)),
        "handing over a small tensor": lambda: handed_over(tensor.clone()),
        "reading packed bytes": lambda: unpack_timing(timing),
    }
    rows = [[name, f"{least_us(each, batches, groups):.1f}"] for name, each in actions.items()]
    return [*rows, ["bytes of the timing", str(len(timing))]]


def print_table(*rows: list[str]) -> None:
    """As Markdown."""
    for place, row in enumerate(rows):
        print("| " + " | ".join(row) + " |", flush=True)
        if not place:
            print("|" + "---|" * len(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sleep-ms", type=float, default=80.0)
    parser.add_argument("--step-ms", type=float, default=120.0)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--groups", type=int, default=10)
    options = parser.parse_args()
    sleep_s, step_s = options.sleep_ms / 1e3, options.step_ms / 1e3
    header = ["workers", "data_wait ms", "step ms", "made ms", "supply ms", "empty", "queued ms"]
    runs = [record_run(n, sleep_s, step_s, options.steps) for n in (0, 1, 2)]
    print(f"{options.sleep_ms:g} ms a batch against {options.step_ms:g} ms of work\n")
    print_table(header, *runs)
    print(f"\n{options.sleep_ms:g} ms a batch against 40 ms of work\n")
    print_table(header, *(record_run(n, sleep_s, 0.04, options.steps) for n in (1, 3)))
    print("\nProcessor time of the timing for each batch\n")
    rows = cost_rows(options.batches, options.groups)
    print_table(["what", "µs a batch"], *rows)


if __name__ == "__main__":
    main()
