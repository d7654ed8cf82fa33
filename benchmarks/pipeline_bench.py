"""What all loaders of `data_pipeline.py` read, and the proof that they read the same."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pipeline_loaders import SCALE, SPIKE_HEIGHT, SPIKE_WIDTH, Draw, plain_sample

from vrtspike.data import lean
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.cropping import pair_sizes, random_window
from vrtspike.data.frames import picture_size
from vrtspike.data.loader import ClipLoader, LoaderJob, build_loaders, start_worker
from vrtspike.data.machine_cache import CacheJob, join_caches
from vrtspike.data.settings import DataConfig, DataLoaderConfig

CPU = torch.device("cpu")
CACHED, STORE = "ours, cached", "ours, fast store"


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


def shown(values: Sequence[float], digits: int = 2) -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"
