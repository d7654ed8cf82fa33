"""Seeding, and the state of every random number generator as plain tensors and numbers."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_RANK_STRIDE = 1_000_003
"""Keeps the seeds of ranks apart, also for runs whose configured seeds are neighbours."""


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed PyTorch (all devices), NumPy and Python; each rank draws its own numbers."""
    own = (seed + rank * _RANK_STRIDE) % 2**32
    torch.manual_seed(own)
    np.random.seed(own)
    random.seed(own)


def capture(device: torch.device) -> dict[str, Any]:
    """The state of all generators of this process, readable with `weights_only=True`."""
    _, keys, position, has_gauss, cached = np.random.get_state()
    version, words, gauss_next = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "numpy_position": [int(position), int(has_gauss)],
        "numpy_gauss": float(cached),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_version": int(version),
        "python_gauss": gauss_next,
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore(state: Mapping[str, Any], device: torch.device) -> None:
    """Continue with the numbers that were due when `capture` was called."""
    torch.set_rng_state(state["torch"])
    position, has_gauss = state["numpy_position"]
    keys = state["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, position, has_gauss, state["numpy_gauss"]))
    words = tuple(state["python"].tolist())
    random.setstate((state["python_version"], words, state["python_gauss"]))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Whatever the body draws, the generators continue afterwards as if it had not run."""
    state = capture(device)
    try:
        yield
    finally:
        restore(state, device)
