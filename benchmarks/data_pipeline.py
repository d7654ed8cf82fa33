"""Samples per second and core of the loaders: documented, plain, ours; and the floors under them.

    python benchmarks/data_pipeline.py [--data FOLDER] [--root TREE] [--frames 30] [--rounds 7]

A sample is 5 frames of 720x1280 with 88 ticks of spikes, cut to 256 pixels. All loaders run in this
process with one thread; they take turns, round after round, so that what else the machine does hits
all of them; a figure is the median of the rounds, with their range. Time is the processor's. Before
anything is timed, ours is compared with the plain loader to the last bit.

`--root` takes a real data set (GoPro with spikes) instead of frames made here.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import torch
from pipeline_bench import CACHED, CPU, STORE, Bench, bytes_of, check_bits, draws_of, shown
from pipeline_frames import make_tree
from pipeline_loaders import CopyFloor, DecodeFloor, DocumentedLoader, Draw, plain_sample
from pipeline_ways import crossing_rows, disk_rows

from vrtspike.data import lean
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.fast_store import convert
from vrtspike.data.settings import DataConfig

DOCUMENTED = "documented"
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


# --- the report ----------------------------------------------------------------------------------


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
    print_table(
        ["nothing in the page cache", "CPU ms a sample", "wall ms"],
        disk_rows(bench, max(1, options.rounds // 2)),
    )
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
