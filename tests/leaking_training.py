"""A small recorded training in which a leak is planted; started by `test_planted_leaks`.

    python leaking_training.py KIND STEPS STEP_MS FOLDER

The folder gets the run's facts and `pids.txt`, a line for each process: its role and its number.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, get_worker_info

from vrtspike.profiling import record

MB = 10**6
WORKERS = 2
PREFIX = "planted-leak"


class Clips(Dataset):
    """Random clips; making one takes some memory, which is given back."""

    def __init__(self, kind: str, steps: int) -> None:
        self.kind, self.steps = kind, steps
        self.kept: list[np.ndarray] = []

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, place: int) -> torch.Tensor:
        noise = np.random.default_rng(place).random((4 + place % 3, MB // 8))
        if get_worker_info().id == 0:  # it makes every second clip
            self.leak(place)
        return torch.from_numpy(noise[:3, :4096].astype("float32")).reshape(3, 64, 64)

    def leak(self, place: int) -> None:
        if self.kind == "worker":
            self.kept.append(np.ones(WORKERS * MB, np.uint8))
        elif self.kind == "shm":
            Path(f"/dev/shm/{PREFIX}-{os.getpid()}-{place}").write_bytes(bytes(WORKERS * MB))
        elif self.kind == "warm-up" and len(self.kept) < 40:
            self.kept.append(np.ones(5 * MB, np.uint8))


def tell(folder: Path, role: str) -> None:
    with (folder / "pids.txt").open("a") as file:
        file.write(f"{role} {os.getpid()}\n")


def main() -> None:
    kind, steps, step_s, folder = (
        sys.argv[1],
        int(sys.argv[2]),
        float(sys.argv[3]) / 1e3,
        Path(sys.argv[4]),
    )
    os.chdir(folder)
    tell(folder, "main")
    torch.set_num_threads(1)
    loader = DataLoader(
        Clips(kind, steps),
        batch_size=1,
        num_workers=WORKERS,
        worker_init_fn=lambda number: tell(folder, f"worker{number}"),
    )
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    kept = []
    with record("leaking", total_steps=steps) as run:
        for batch in run.wrap(loader):
            begun = time.perf_counter()
            loss = (model(batch) - batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if kind == "main":
                kept.append(np.ones(MB, np.uint8))
            time.sleep(max(0.0, step_s - (time.perf_counter() - begun)))
            run.step(loss=loss, samples=1)


if __name__ == "__main__":
    main()
