"""Reading the reference values: packed weights, inputs, outputs and gradients."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor


def golden_folder() -> Path:
    root = os.environ.get("VRTSPIKE_REFERENCE_DATA")
    if not root or not (Path(root) / "golden").is_dir():
        pytest.skip("VRTSPIKE_REFERENCE_DATA does not name a folder with golden/")
    return Path(root) / "golden"


def load(name: str) -> dict[str, Any]:
    return torch.load(golden_folder() / f"{name}.pt", weights_only=True)


def unpack_state(golden: dict[str, Any]) -> dict[str, Tensor]:
    """Parameters are int8 grids (base + q * 2**exp), shared index tables, or plain floats."""
    state = {}
    for key, packed in golden["state"].items():
        if "q" in packed:
            state[key] = packed["base"] + packed["q"].float() * 2.0 ** packed["exp"]
        elif "idx" in packed:
            state[key] = golden["rel_index"][packed["idx"]].long()
        else:
            state[key] = packed["f"]
    return state


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    return torch.sqrt((output - target) ** 2 + 1e-9).mean()
