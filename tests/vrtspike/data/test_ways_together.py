"""Precomputed voxels, lean samples, the cache and the fast store, whichever are on together."""

import numpy as np
import pytest
import torch

from tests.vrtspike.data.test_clips import config
from tests.vrtspike.data.test_loader import loaders
from vrtspike.data import lean
from vrtspike.data.cache import CacheStats
from vrtspike.data.fast_store import convert
from vrtspike.data.loader import LoaderJob

CPU = torch.device("cpu")
WAYS = ("files", "cache", "cache file", "store", "store and cache")


def with_voxels(root, dtype) -> None:
    for number, clip in enumerate(("train/a", "train/deep/b", "val/c")):
        folder = root / clip / "spike_vox"
        folder.mkdir()
        rng = np.random.default_rng(number)
        for frame in range(6):
            made = (255 * rng.random((4, 32, 32))).astype(dtype)
            np.save(folder / f"{frame:06d}.npy", made)


def epochs(root, workers=0, **given) -> tuple[list[tuple[torch.Tensor, ...]], CacheStats | None]:
    """Two epochs and their validation as the model gets them."""
    built = loaders(
        root, workers, LoaderJob(batch_size=2, seed=9, cuda=False), augment=True, **given
    )
    found = []
    for epoch in (0, 1):
        built.start_epoch(epoch)
        found += [lean.on_device(batch, CPU) for each in (built.train, built.val) for batch in each]
    return found, built.train_set.cache_stats()


@pytest.mark.parametrize("dtype", [None, "f2", "f8", ">f4"])
def test_all_ways_together_give_the_same_bits(unified, tmp_path, dtype):
    given = {}
    if dtype is not None:
        with_voxels(unified, dtype)
        given = {"use_precomputed_voxels": True}
    convert(config(unified), tmp_path / "store", ("train", "val"), lambda line: None)
    plain, _ = epochs(unified, lean_samples=False, **given)
    assert len(plain) == 12
    for way in WAYS:
        for is_lean in (False, True):
            ways = {"lean_samples": is_lean, **given}
            if "store" in way:
                ways["fast_store"] = str(tmp_path / "store")
            if "cache" in way:
                ways |= {"use_ram_cache": True, "cache_size_gb": 0.05}
            if way == "cache file":
                ways["cache_dir"] = str(tmp_path)
            made, stats = epochs(unified, **ways)
            for one, other in zip(plain, made, strict=True):
                for expected, found in zip(one, other, strict=True):
                    assert expected.dtype == found.dtype == torch.float32
                    assert torch.equal(expected, found), (way, is_lean)
            if way in ("cache", "cache file"):
                assert stats is not None
                assert stats.hits > 0
                assert stats.refused == (24 * 2 if dtype == ">f4" else 0), (way, is_lean)


@pytest.mark.parametrize("way", ["cache", "store and cache"])
def test_loading_processes_see_the_same(unified, tmp_path, way):
    with_voxels(unified, "f2")
    given = {"use_precomputed_voxels": True, "lean_samples": True}
    plain, _ = epochs(unified, lean_samples=False, use_precomputed_voxels=True)
    if "store" in way:
        convert(config(unified), tmp_path / "store", ("train", "val"), lambda line: None)
        given["fast_store"] = str(tmp_path / "store")
    made, stats = epochs(unified, 2, use_ram_cache=True, cache_size_gb=0.05, **given)
    for one, other in zip(plain, made, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert stats is not None
    assert stats.items == (12 if "store" in way else 36), "voxels only, beside a store"
