"""Samples per second and core of the loaders: documented, plain, ours; and the floors under them.

    python benchmarks/data_pipeline.py [--data FOLDER] [--root TREE] [--frames 30] [--rounds 7]

A sample is 5 frames of 720x1280 with 88 ticks of spikes, cut to 256 pixels. All loaders run in this
process with one thread; they take turns, round after round, so that what else the machine does hits
all of them; a figure is the median of the rounds, with their range. Time is the processor's. Before
anything is timed, ours is compared with the plain loader to the last bit.

`--root` takes a real data set (GoPro with spikes) instead of frames made here.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pipeline_frames import make_tree
from pipeline_loaders import (
    SCALE,
    SPIKE_HEIGHT,
    SPIKE_WIDTH,
    CopyFloor,
    DecodeFloor,
    DocumentedLoader,
    Draw,
    plain_sample,
)

from vrtspike.data import lean
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.cropping import pair_sizes, random_window
from vrtspike.data.fast_store import convert
from vrtspike.data.frames import picture_size
from vrtspike.data.loader import ClipLoader, LoaderJob, build_loaders, start_worker
from vrtspike.data.machine_cache import CacheJob, join_caches
from vrtspike.data.settings import DataConfig, DataLoaderConfig

CPU = torch.device("cpu")
DOCUMENTED, CACHED, STORE = "documented", "ours, cached", "ours, fast store"
COPY, DECODE = "floor: copy", "floor: decode"


@dataclass
class Contender:
    """One loader: `make` makes so many samples; `samples` of them are a round's share."""

    name: str
    make: Callable[[int], None]
    samples: int
    sample_bytes: int | None = None
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        """Times a round's share."""
        began_cpu, began = time.process_time_ns(), time.perf_counter_ns()
        self.make(self.samples)
        self.cpu_ms.append((time.process_time_ns() - began_cpu) / 1e6 / self.samples)
        self.wall_ms.append((time.perf_counter_ns() - began) / 1e6 / self.samples)


@dataclass(frozen=True)
class Bench:
    """What all loaders read."""

    data: DataConfig
    store: Path
    draws: Sequence[Draw]

    def ours(
        self, *, is_lean: bool = True, workers: int = 0, checks: bool = False, **settings: Any
    ) -> SpikeDeblurDataset:
        """Our training set, as the trainer builds it; `checks` are the cache's, which it leaves."""
        given = {**vars_of(self.data), "lean_samples": is_lean, **settings}
        loading = DataLoaderConfig(total_workers=workers, pin_memory=False)
        dataset = build_loaders(DataConfig(**given), loading, LoaderJob()).train_set
        if checks:
            job = CacheJob(
                machine_bytes=int(self.data.cache_size_gb * 2**30),
                workers=workers,
                local_ranks=1,
                checks=True,
            )
            dataset.use_cache(join_caches(dataset.cache_keys(), job)[0])
        return dataset

    def loader(self, dataset: SpikeDeblurDataset, samples: int, workers: int = 0) -> ClipLoader:
        """Goes through the samples again and again."""
        order = [number % len(self.draws) for number in range(samples)]
        return ClipLoader(
            dataset,
            batch_size=1,
            sampler=order,
            collate_fn=lean.collate,
            num_workers=workers,
            worker_init_fn=start_worker,
            multiprocessing_context="fork" if workers else None,
        )


def vars_of(data: DataConfig) -> dict[str, Any]:
    """The settings as arguments."""
    return {name: getattr(data, name) for name in data.__dataclass_fields__}


def draws_of(dataset: SpikeDeblurDataset) -> list[Draw]:
    """The windows that the data set will cut out in epoch 0, for loaders that are not ours."""
    plan, draws = dataset.order_plan(), []
    for index, (number, start) in enumerate(zip(plan.clips, plan.first_frames, strict=True)):
        frames = dataset.clips[number].frames
        pair = pair_sizes(picture_size(frames[0].blur), (SPIKE_HEIGHT, SPIKE_WIDTH), frames[0].blur)
        if pair.scale != SCALE:
            raise SystemExit(f"--root: pictures must be {SCALE} times as large as their spikes")
        window = random_window(pair, dataset.config.crop_size, np.random.default_rng([0, 0, index]))
        draws.append(Draw(frames[start : start + plan.clip_len], window))
    return draws


def check_bits(bench: Bench) -> int:
    """Ours against the plain loader; returns how many samples were compared."""
    ours = {
        "in a loading process": bench.ours(is_lean=False),
        "finished on the device": bench.ours(),
        "from the cache": bench.ours(use_ram_cache=True),
        "from the fast store": bench.ours(fast_store=str(bench.store)),
    }
    chosen = range(0, len(bench.draws), max(1, len(bench.draws) // 8))
    for index in chosen:
        blur, sharp, voxels = plain_sample(bench.draws[index])
        for name, dataset in ours.items():
            for _ in range(2 if "cache" in name else 1):
                made = lean.on_device(lean.collate([dataset[index]]), CPU)
                same = zip((blur, voxels, sharp), made, strict=True)
                if not all(torch.equal(one, other[0]) for one, other in same):
                    raise SystemExit(f"sample {index}: not the same bits {name}")
    return len(chosen)


def bytes_of(batch: Any) -> int:
    """Of the tensors of a sample."""
    tensors = batch if isinstance(batch, tuple) else tuple(lean.copied_tensors(batch))
    return sum(each.numel() * each.element_size() for each in tensors)


def contenders(bench: Bench) -> list[Contender]:
    """All of them, ready to run: caches are full, pages of the store are in memory."""
    frames = [frame for draw in bench.draws for frame in draw.frames]
    unique = list({frame.blur: frame for frame in frames}.values())
    documented, crop = DocumentedLoader(), bench.data.crop_size
    hitting = DocumentedLoader(cached_frames=bench.data.clip_len)
    hitting(bench.draws[0])
    floats = bytes_of(documented(bench.draws[0]))
    found = [
        Contender(DOCUMENTED, repeating(documented, bench.draws), 1, floats),
        Contender(f"{DOCUMENTED}, its own cache hitting", repeating(hitting, bench.draws[:1]), 2),
        Contender("plain", repeating(plain_sample, bench.draws), 3, floats),
    ]
    cached = bench.ours(use_ram_cache=True)
    for name, samples, dataset in (
        ("ours, cold", 4, bench.ours()),
        (CACHED, 100, cached),
        (f"{CACHED}, checksums on", 3, bench.ours(use_ram_cache=True, checks=True)),
        (STORE, 100, bench.ours(fast_store=str(bench.store))),
    ):
        found.append(ours_in_process(name, samples, bench, dataset))
    found.append(Contender(f"{CACHED}, finished on this CPU", finishing(bench, cached), 20, floats))
    floors: dict[str, tuple[Callable[[Draw], object], int]] = {
        DECODE: (DecodeFloor(unique), 4),
        COPY: (CopyFloor(unique, crop, as_numbers=True), 200),
        "floor: copy, spikes byte by byte": (CopyFloor(unique, crop, as_numbers=False), 200),
    }
    for name, (floor, samples) in floors.items():
        found.append(Contender(name, repeating(floor, bench.draws), samples))
    return found


def repeating(make: Callable[[Draw], object], draws: Sequence[Draw]) -> Callable[[int], None]:
    """Makes a number of samples, beginning with the first draw again where they end."""

    def repeat(count: int) -> None:
        for number in range(count):
            make(draws[number % len(draws)])

    return repeat


def finishing(bench: Bench, dataset: SpikeDeblurDataset) -> Callable[[int], None]:
    """With what a GPU does in its own time: floats and voxels of the bytes."""

    def make(count: int) -> None:
        for batch in bench.loader(dataset, count):
            lean.on_device(batch, CPU)

    return make


def ours_in_process(
    name: str, samples: int, bench: Bench, dataset: SpikeDeblurDataset
) -> Contender:
    """Through the DataLoader without workers, after every sample was loaded once."""
    if name != "ours, cold":
        for _ in bench.loader(dataset, len(bench.draws)):
            pass

    def make(count: int) -> None:
        for _ in bench.loader(dataset, count):
            pass

    batch = next(iter(bench.loader(dataset, 1)))
    return Contender(name, make, samples, bytes_of(batch))


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


# --- the report ----------------------------------------------------------------------------------


def shown(values: Sequence[float], digits: int = 2) -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def ratios(slow: Contender, fast: Contender) -> list[float]:
    """How many times as fast, round by round."""
    return [a / b for a, b in zip(slow.cpu_ms, fast.cpu_ms, strict=True)]


def print_table(header: list[str], rows: Iterator[list[str]]) -> None:
    """As Markdown."""
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def loader_rows(found: Sequence[Contender]) -> Iterator[list[str]]:
    by_name = {one.name: one for one in found}
    for one in found:
        size = f"{one.sample_bytes / 1e6:.2f}" if one.sample_bytes else "-"
        yield [
            one.name,
            shown(one.cpu_ms),
            f"{1e3 / statistics.median(one.cpu_ms):.1f}",
            shown(ratios(by_name[DOCUMENTED], one), 1),
            shown(ratios(by_name[COPY], one), 3),
            size,
            f"{statistics.median(one.wall_ms):.2f}",
        ]


def target_rows(found: Sequence[Contender]) -> Iterator[list[str]]:
    by_name = {one.name: one for one in found}
    documented, cached, store = (by_name[name] for name in (DOCUMENTED, CACHED, STORE))
    size = (documented.sample_bytes or 0) / (cached.sample_bytes or 1)
    for name, values, least in (
        ("cached, times the documented loader", ratios(documented, cached), 100.0),
        ("fast store, times the documented loader", ratios(documented, store), 20.0),
        ("cached, of the copy floor", ratios(by_name[COPY], cached), 0.4),
        ("documented bytes, times ours", [size], 15.0),
    ):
        is_met = statistics.median(values) >= least
        yield [name, shown(values), f"{least:g}", "met" if is_met else "MISSED"]


def run(options: argparse.Namespace, folder: Path) -> None:
    """Makes the frames and the store, compares, times, prints."""
    root = options.root or folder / "tree"
    content = "a real data set" if options.root else make_tree(root, options.frames)
    data = DataConfig(
        root=str(root), crop_size=256, val_crop_size=256, clip_len=5, augment=False, cache_size_gb=4
    )
    convert(data, folder / "store", ("train", "val"), lambda line: print(f"fast store: {line}"))
    train_set = SpikeDeblurDataset(data, "train", training=True)
    bench = Bench(data, folder / "store", draws_of(train_set))
    files = [path for frame in train_set.clips[0].frames for path in (frame.blur, frame.spikes)]
    sizes = [path.stat().st_size / 1e6 for path in files if path is not None]
    print(f"frames: {content}; a blurry PNG is {statistics.mean(sizes[::2]):.2f} MB, the spikes of")
    print(f"a frame {statistics.mean(sizes[1::2]):.2f} MB; {len(bench.draws)} samples\n")
    print(f"bits: {check_bits(bench)} samples are the plain loader's, whatever made them\n")
    found = contenders(bench)
    for _ in range(options.rounds):
        for one in found:
            one.take_turn()
    header = ["loader", "CPU ms a sample", "samples/s and core", "x documented", "of copy floor"]
    print_table([*header, "MB a sample", "wall ms"], loader_rows(found))
    print_table(["target", "measured", "at least", ""], target_rows(found))
    header = ["loader", "workers", "trainer CPU ms", "worker CPU ms", "wall ms"]
    print_table(header, crossing_rows(bench, options.crossing, max(1, options.rounds // 2)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="keep frames and store here; else temporary")
    parser.add_argument("--root", type=Path, help="a real data set instead")
    parser.add_argument("--frames", type=int, default=30, help="in each of two clips")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--crossing", type=int, default=200, help="samples through a worker")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as temporary:
        run(options, options.data or Path(temporary))


if __name__ == "__main__":
    main()
