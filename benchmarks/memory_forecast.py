"""How close the memory of real runs comes to the forecast that was made before they started.

    python benchmarks/memory_forecast.py [--folder DIR] [--only WORKERSxRANKSxGIB ...] [--out FILE]

For 1, 4 and 8 workers a rank x 1, 2 and 4 ranks x 2 budgets of the cache: `diagnose_memory.py
--config` forecasts the run, the run is made (the smallest network, pictures of 720x1280, gloo
ranks on the CPU, with a validation), and the memory of all its processes is read from the kernel
again and again. What counts is the largest sum of

* the anonymous pages of all processes, each page shared out among those that have it (Pss_Anon);
* the pages of libraries and other files, once: the largest RssFile of a process. Other programs of
  the machine map the same PyTorch, and Pss would give them a share of it;
* the shared memory that the processes hold open, once: the cache and batches on their way. Pss has
  only what is mapped, and a cached frame is not mapped until it is read.

The plain sum of Pss stands beside it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import yaml

from vrtspike.data.spike_config import write_spike_config
from vrtspike.data.spike_stream import encode, write_dat

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
WORKERS, RANKS, CACHES_GIB = (1, 4, 8), (1, 2, 4), (0.125, 0.375)
LIMIT_SHARE = 0.10
CLIPS, FRAMES, VAL_FRAMES, TICKS = 4, 16, 64, 88
HEIGHT, WIDTH = 720, 1280
SAMPLES = 40
LOOK_EVERY_S = 0.4
CONFIG: dict[str, Any] = {
    "SEED": 7,
    "DATA": {
        "ROOT": "tree",
        "CLIP_LEN": 2,
        "CROP_SIZE": 40,
        "VAL_CROP_SIZE": 40,
        "K": 2,
        "USE_RAM_CACHE": True,
    },
    "MODEL": {
        "CHANNELS_PER_SCALE": [8, 8, 8, 8],
        "VRT_DEPTHS": [1, 1, 1, 1, 1, 1, 1, 1],
        "WINDOW_SIZE": 2,
        "NUM_HEADS": 2,
        "DEFORM_GROUPS": 2,
        "SPIKE_TSA": {"HEADS": 2},
        "FUSE": {"HEADS": 2, "SCALES": [2]},
    },
    "DATALOADER": {"TRAIN_PREFETCH_FACTOR": 2},
    "TRAIN": {"TOTAL_STEPS": 60, "SCHED": {"WARMUP_STEPS": 1}},
    "LOG": {"TENSORBOARD": False, "CHECKPOINT_EVERY_STEPS": 100_000},
}


@dataclass(frozen=True, order=True)
class Case:
    """One run: loading processes of each rank, ranks, budget of the cache."""

    workers: int
    ranks: int
    cache_gib: float

    @property
    def overrides(self) -> list[str]:
        """What the configuration gets besides."""
        steps = SAMPLES // self.ranks
        return [
            f"DATALOADER.TOTAL_WORKERS={self.workers * self.ranks}",
            f"DATA.CACHE_SIZE_GB={self.cache_gib}",
            f"TRAIN.TOTAL_STEPS={steps}",
            f"LOG.VAL_EVERY_STEPS={steps // 2}",
        ]


@dataclass(frozen=True)
class Reading:
    """Memory of all processes of a run at one moment."""

    anonymous_bytes: int = 0
    file_bytes: int = 0
    shared_bytes: int = 0
    pss_bytes: int = 0
    processes: int = 0

    @property
    def total_bytes(self) -> int:
        """Everything, each page once."""
        return self.anonymous_bytes + self.file_bytes + self.shared_bytes


def write_data(root: Path) -> None:
    """Clips of drifting pictures whose spikes show them."""
    for number in range(CLIPS):
        write_clip(root / "train" / str(number), FRAMES)
    write_clip(root / "val/last", VAL_FRAMES)  # every process of a validation gets its share
    write_spike_config(root, {"spike_h": HEIGHT // 2, "spike_w": WIDTH // 2, "theta": 2.0})


def write_clip(folder: Path, frames: int) -> None:
    """One clip in the layout of the data set."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (9, 16, 3), np.uint8)
    for kind in ("blur", "sharp", "spike"):
        (folder / kind).mkdir(parents=True)
    for number in range(frames):
        picture = cv2.resize(np.roll(coarse, number, 1), (WIDTH, HEIGHT))
        gray = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (WIDTH // 2, HEIGHT // 2))
        for kind in ("blur", "sharp"):
            cv2.imwrite(str(folder / kind / f"{number:06d}.png"), picture)
        chance = rng.integers(0, 256, (TICKS, *gray.shape), np.uint8)
        spikes = (chance < 0.4 * gray).astype(np.uint8)
        write_dat(folder / "spike" / f"{number:06d}.dat", encode(spikes))


def forecast_bytes(case: Case, folder: Path) -> int:
    """What the tool says the run will need, before it starts."""
    command = [sys.executable, str(ROOT / "diagnose_memory.py"), "--config", "config.yaml"]
    command += ["--ranks", str(case.ranks), "--json", "-", *case.overrides]
    said = subprocess.run(command, cwd=folder, env=environ(), capture_output=True, check=False)
    resources = json.loads(said.stdout)["forecast"]["resources"]
    return sum(part["size_bytes"] for part in resources[0]["parts"])


def run_and_watch(case: Case, folder: Path) -> Reading:
    """The moment of the run at which it had the most."""
    start = [sys.executable]
    if case.ranks > 1:
        launch = ["-m", "torch.distributed.run", "--standalone"]
        start += [*launch, f"--nproc_per_node={case.ranks}"]
    train = ["-m", "vrtspike.train", "--config", "config.yaml", "--device", "cpu"]
    most = Reading()
    with (folder / "run.log").open("w") as log:
        run = subprocess.Popen(
            [*start, *train, *case.overrides], cwd=folder, env=environ(), stdout=log, stderr=log
        )
        while run.poll() is None:
            most = max(most, read_tree(run.pid), key=lambda reading: reading.total_bytes)
            time.sleep(LOOK_EVERY_S)
    if run.returncode:
        raise SystemExit(f"{case} ended with {run.returncode}: {folder / 'run.log'}")
    return most


def environ() -> dict[str, str]:
    """One thread a process, and this checkout's packages."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def read_tree(pid: int) -> Reading:
    """All processes of a run, now."""
    try:
        top = psutil.Process(pid)
        members = [pid, *(child.pid for child in top.children(recursive=True))]
    except psutil.Error:
        return Reading()
    rolls = [sizes for member in members if (sizes := kernel_sizes(member, "smaps_rollup"))]
    states = [kernel_sizes(member, "status") for member in members]
    return Reading(
        anonymous_bytes=sum(sizes["Pss_Anon"] for sizes in rolls),
        file_bytes=max((sizes.get("RssFile", 0) for sizes in states), default=0),
        shared_bytes=sum(dict(shared_files(members)).values()),
        pss_bytes=sum(sizes["Pss"] for sizes in rolls),
        processes=len(rolls),
    )


def kernel_sizes(pid: int, name: str) -> Mapping[str, int]:
    """Sizes in bytes of a file of the kernel; empty once the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/{name}").read_text().splitlines()
    except OSError:
        return {}
    rows = [line.split() for line in lines]
    return {row[0][:-1]: int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"}


def shared_files(members: Iterable[int]) -> Iterator[tuple[tuple[int, int], int]]:
    """Device and inode of each file in shared memory that a process holds open, and its bytes."""
    for member in members:
        try:
            links = list(Path(f"/proc/{member}/fd").iterdir())
        except OSError:
            continue
        for link in links:
            try:
                if os.readlink(link).startswith(("/memfd:", "/dev/shm/")):  # noqa: PTH115
                    found = link.stat()
                    yield (found.st_dev, found.st_ino), found.st_blocks * 512
            except OSError:
                continue


def table(rows: list[tuple[Case, int, Reading]]) -> str:
    """The figures with machine and date."""
    worst = max(abs(reading.total_bytes / said - 1) for _, said, reading in rows)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    lines = [
        "# Memory of a run against the forecast before it",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {platform.machine()}, "
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; "
        "`python benchmarks/memory_forecast.py`. No GPU; other programs ran beside it.",
        "",
        f"{len(rows)} runs; the largest difference is {worst:.1%}, the limit {LIMIT_SHARE:.0%}.",
        "",
        "| workers a rank | ranks | cache MiB | forecast MiB | measured MiB | difference | "
        "anonymous | files | shared memory | plain PSS | processes |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for case, said, reading in rows:
        sizes = (
            reading.anonymous_bytes,
            reading.file_bytes,
            reading.shared_bytes,
            reading.pss_bytes,
        )
        shown = " | ".join(f"{size / MIB:.0f}" for size in sizes)
        lines.append(
            f"| {case.workers} | {case.ranks} | {1024 * case.cache_gib:.0f} | {said / MIB:.0f} | "
            f"{reading.total_bytes / MIB:.0f} | {reading.total_bytes / said - 1:+.1%} | {shown} | "
            f"{reading.processes} |"
        )
    return (
        "\n".join(lines)
        + f"\n\n{' '.join(('For 1,' + (__doc__ or '').partition('For 1,')[2]).split())}\n"
    )


def main() -> int:
    """Makes the runs; ends with 1 where one is further off than the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("outputs/memory_forecast"))
    parser.add_argument("--only", nargs="+", metavar="WORKERSxRANKSxGIB")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if not (asked.folder / "tree/config.yaml").exists():
        write_data(asked.folder / "tree")
    (asked.folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    rows: list[tuple[Case, int, Reading]] = []
    for workers, ranks, gib in reversed(list(product(WORKERS, RANKS, CACHES_GIB))):
        if asked.only and f"{workers}x{ranks}x{gib:g}" not in asked.only:
            continue
        case = Case(workers, ranks, gib)
        rows.append((case, forecast_bytes(case, asked.folder), run_and_watch(case, asked.folder)))
        print(table(rows[-1:]).splitlines()[8], flush=True)
        if asked.out:
            asked.out.write_text(table(sorted(rows, key=lambda row: row[0])), "utf-8")
    return int(any(abs(r.total_bytes / said - 1) > LIMIT_SHARE for _, said, r in rows))


if __name__ == "__main__":
    sys.exit(main())
