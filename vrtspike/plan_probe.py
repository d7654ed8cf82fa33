"""`python -m vrtspike.plan_probe`: what samples and processes of a run cost on this machine.

A forecast starts it in a process of its own, so that the tools need no PyTorch, and reads what it
writes. It loads some samples of the real data set as the trainer's loader does, with one loading
process, and reads from the kernel what the processes hold.
"""

import argparse
import gc
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from vrtspike.errors import VRTSpikeError
from vrtspike.profiling.kernel_files import read_small

_WATCHED_BATCHES = 6
_LOOK_EVERY_S = 0.005
_STEPS = 3
_CLIP_LEN, _CROP, _BINS = 2, 40, 2
_SMALL_NETWORK = {
    "CHANNELS_PER_SCALE": [8, 8, 8, 8],
    "VRT_DEPTHS": [1, 1, 1, 1, 1, 1, 1, 1],
    "WINDOW_SIZE": 2,
    "NUM_HEADS": 2,
    "DEFORM_GROUPS": 2,
    "SPIKE_TSA": {"HEADS": 2},
    "FUSE": {"HEADS": 2},
}
"""So small that what its steps leave behind is the libraries': kernels, threads, tables."""


def build_parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = argparse.ArgumentParser(prog="python -m vrtspike.plan_probe", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--samples", type=int, default=8, help="how many samples to time")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("overrides", nargs="*", metavar="KEY.PATH=VALUE")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    asked = build_parser().parse_args(argv)
    try:
        found = probe(asked.config, asked.overrides, asked.samples, asked.device)
    except VRTSpikeError as error:
        found = {"problem": str(error)}
    asked.out.write_text(json.dumps(found), "utf-8")
    return 0


def probe(
    config_path: Path, overrides: Sequence[str], samples: int, device: str = "cpu"
) -> dict[str, Any]:
    """Sizes of the processes in bytes, and the price of a sample.

    Raises:
        VRTSpikeError: configuration or data do not allow it.
    """
    import torch

    bare = held(os.getpid())
    from vrtspike.config import load_config
    from vrtspike.data.clips import SpikeDeblurDataset
    from vrtspike.data.sample_timing import time_samples
    from vrtspike.engine import session  # noqa: F401  # what a trainer imports

    config = load_config(config_path, overrides)
    train_set = SpikeDeblurDataset(
        config.data, config.data.train_split, training=True, seed=config.seed
    )
    if config.data.hands_over_bytes(cuda=device.startswith("cuda")):
        train_set.hand_over_bytes()
    cost, unknown = time_samples(train_set, most=samples)
    sizes = _process_sizes(config, samples, torch.device(device))
    return {
        "torch": torch.__version__,
        "launcher_bytes": _launcher_bytes(bare.get("own")),
        **sizes,
        "cost": None if cost is None else asdict(cost),
        "cost_unknown": unknown,
    }


def _launcher_bytes(bare_bytes: int | None) -> int | None:
    """PyTorch, and what torchrun imports besides."""
    before = held(os.getpid()).get("own")
    import torch.distributed.run  # noqa: F401

    after = held(os.getpid()).get("own")
    if bare_bytes is None or before is None or after is None:
        return None
    return bare_bytes + max(0, after - before)


def _process_sizes(config: Any, samples: int, device: Any) -> dict[str, int | None]:
    """Of a trainer that has taken small steps, their network gone, and of a loading process."""
    from vrtspike.data.free_heap import give_back_free_heap
    from vrtspike.data.loader import LoaderJob, build_loaders

    data = replace(config.data, use_ram_cache=False)
    loading = replace(config.dataloader, total_workers=1, train_prefetch_factor=1)
    job = LoaderJob(batch_size=config.train.batch_size, seed=config.seed)
    loaders = build_loaders(data, loading, job)
    batches = iter(loaders.train)
    with _Watch() as watch:
        for _ in range(min(_WATCHED_BATCHES, max(1, samples), len(loaders.train))):
            next(batches)
    own = watch.most_bytes
    _take_small_steps(device)
    with_old_pages = max([own, *(held(child).get("own", 0) for child in _children())])
    gc.collect()
    give_back_free_heap()
    trainer = held(os.getpid())
    return {
        # Pages that both still share are the trainer's.
        "trainer_bytes": trainer.get("own", 0) + trainer.get("shared", 0) if trainer else None,
        "library_bytes": trainer.get("files"),
        "worker_bytes": own or None,
        "old_pages_bytes": with_old_pages - own if own else None,
    }


class _Watch:
    """Looks at the children of this process again and again, for the most one has of its own."""

    def __init__(self) -> None:
        self.most_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            sizes = [held(child).get("own", 0) for child in _children()]
            self.most_bytes = max([self.most_bytes, *sizes])
            if self._over.wait(_LOOK_EVERY_S):
                return


def _take_small_steps(device: Any) -> None:
    """Forward, backward and update of the smallest network, as the trainer's own parts do them."""
    import torch

    from vrtspike.config import config_from_mapping
    from vrtspike.engine import assembly
    from vrtspike.engine.clip_model import Clips
    from vrtspike.engine.distributed import World
    from vrtspike.engine.precision import choose_precision

    data = {"ROOT": ".", "CLIP_LEN": _CLIP_LEN, "CROP_SIZE": _CROP, "K": _BINS}
    mapping = {"DATA": data, "MODEL": _SMALL_NETWORK, "TRAIN": {"TOTAL_STEPS": _STEPS}}
    config, world = config_from_mapping(mapping, "the forecast's small network"), World(device)
    model = assembly.make_model(config, device, trained=False)
    learner = assembly.make_learner(config, model, world, choose_precision(config.train, device))
    frames = torch.rand(1, _CLIP_LEN, 3, _CROP, _CROP, device=device)
    spikes = torch.rand(1, _CLIP_LEN, _BINS, _CROP // 2, _CROP // 2, device=device)
    for _ in range(_STEPS):
        clips = Clips(frames, spikes, frames)
        learner.backward(learner.measure(learner.forward(clips), clips).total)
        learner.clip()
        learner.optimizer.step()
        learner.optimizer.zero_grad()


def _children() -> list[int]:
    """Loading processes; they are forked by the thread that runs the program."""
    text = read_small(f"/proc/{os.getpid()}/task/{os.getpid()}/children") or ""
    return [int(word) for word in text.split()]


def held(pid: int) -> dict[str, int]:
    """Bytes of a process: `own` pages that no other has, `shared` ones, mapped `files`."""
    sizes = {**_sizes(pid, "smaps_rollup"), **_sizes(pid, "status")}
    if "Anonymous" not in sizes:
        return {}
    own = sizes.get("Private_Dirty", 0)
    return {
        "own": own,
        "shared": max(0, sizes["Anonymous"] - own),
        "files": sizes.get("RssFile", 0),
    }


def _sizes(pid: int, name: str) -> dict[str, int]:
    lines = (read_small(f"/proc/{pid}/{name}") or "").splitlines()
    rows = [line.split() for line in lines]
    return {
        row[0].rstrip(":"): int(row[1]) * 1024
        for row in rows
        if len(row) == 3 and row[2] == "kB" and row[1].isdigit()
    }


if __name__ == "__main__":
    sys.exit(main())
