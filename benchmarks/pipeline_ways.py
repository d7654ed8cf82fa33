"""What `data_pipeline.py` shows apart: samples from a disk, and through a worker process."""

import gc
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline_bench import CACHED, STORE, Bench, shown

from vrtspike.data import lean
from vrtspike.data.loader import ClipLoader

# --- from a disk ---------------------------------------------------------------------------------


def disk_rows(bench: Bench, rounds: int) -> Iterator[list[str]]:
    """The same when no page of the files is in memory; nothing may have them mapped yet."""
    kinds: dict[str, tuple[Path, dict[str, Any]]] = {
        "ours, cold": (Path(bench.data.root), {}),
        STORE: (bench.store, {"fast_store": str(bench.store)}),
    }
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    samples = range(0, len(bench.draws), 2)
    for _ in range(rounds):
        for name, (folder, settings) in kinds.items():
            dataset = bench.ours(**settings)
            drop_pages(folder)
            cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
            for index in samples:
                lean.collate([dataset[index]])
            cpu_ms, wall_ms = (
                (now - then) / 1e6 / len(samples)
                for now, then in (
                    (time.process_time_ns(), cpu_ns),
                    (time.perf_counter_ns(), wall_ns),
                )
            )
            figures[name].append((cpu_ms, wall_ms))
            del dataset
            gc.collect()
    for name, measured in figures.items():
        yield [name, *(shown([one[place] for one in measured]) for place in (0, 1))]


def drop_pages(folder: Path) -> None:
    """Let the system forget what it keeps of the files."""
    for path in folder.rglob("*.*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# --- crossing to a worker ------------------------------------------------------------------------


def crossing_rows(bench: Bench, samples: int, rounds: int) -> Iterator[list[str]]:
    """What one worker process makes of the same samples: processor time of both sides."""
    kinds: dict[str, dict[str, Any]] = {
        CACHED: {"use_ram_cache": True},
        STORE: {"fast_store": str(bench.store)},
        f"{STORE}, finished as floats by the worker": {
            "fast_store": str(bench.store),
            "is_lean": False,
        },
    }
    loaders = {
        (name, workers): bench.loader(bench.ours(workers=workers, **kind), samples, workers)
        for name, kind in kinds.items()
        for workers in (0, 1)
    }
    figures: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for each_round in range(rounds + 1):
        for key, loader in loaders.items():
            found = crossing_ms(loader, samples)
            if each_round:  # the first one fills the cache
                figures.setdefault(key, []).append(found)
    for (name, workers), measured in figures.items():
        columns = [shown([one[place] for one in measured]) for place in range(3)]
        yield [name, str(workers), *columns]


def crossing_ms(loader: ClipLoader, samples: int) -> tuple[float, float, float]:
    """Processor time of the training process and of the worker, and wall time; ms a sample."""
    trainer, worker, wall = time.process_time(), worker_seconds(), time.perf_counter()
    for _ in loader:
        pass
    return (
        (time.process_time() - trainer) * 1e3 / samples,
        (worker_seconds() - worker) * 1e3 / samples,
        (time.perf_counter() - wall) * 1e3 / samples,
    )


def worker_seconds() -> float:
    """Processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
