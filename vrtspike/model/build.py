"""From the configuration to a network ready to train."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vrtspike.errors import ModelError
from vrtspike.model.initialisation import initialise
from vrtspike.model.optical_flow import SpyNet
from vrtspike.model.settings import ModelConfig
from vrtspike.model.vrt import VRT
from vrtspike.model.vrt_settings import check_network, vrt_arguments
from vrtspike.model.vrt_spike import VRTSpike
from vrtspike.model.weights_file import UNREADABLE

_WRAPPERS = ("params_ema", "params", "state_dict", "model")
_FLOW_PREFIXES = ("vrt.spynet.", "spynet.", "")


def build_model(model: ModelConfig, *, clip_len: int, crop_size: int, bins: int) -> nn.Module:
    """Builds VRTSpike, or the bare VRT when `use_spike` is off.

    A new network returns its input (see `initialisation`).

    Args:
        model: network settings.
        clip_len: frames per clip; the depth of the attention window when that is one number.
        crop_size: side of the training crop in pixels.
        bins: spike bins per frame.

    Raises:
        ModelError: settings that do not fit each other or the crop, or a flow file that does not
            load.
    """
    check_network(model, clip_len, crop_size)
    vrt = VRT(attention=model.attention, **vrt_arguments(model, clip_len, crop_size))
    network = VRTSpike(vrt, model, bins) if model.use_spike else vrt
    initialise(network)
    if model.pretrained_flow is not None:
        load_flow(vrt.spynet, Path(model.pretrained_flow))
    return network


def load_flow(spynet: SpyNet, path: Path) -> None:
    """Loads flow weights from a SpyNet or a VRT checkpoint (tensors only, no pickled code).

    Raises:
        ModelError: the file is missing, broken or holds other weights.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or (
            f"cut short, damaged or of another kind: {type(error).__name__}"
        )
        raise ModelError(f"pretrained_flow {path}: cannot be read as weights ({reason})") from error
    try:
        spynet.load_state_dict(_flow_state(content, path, spynet.state_dict()))
    except RuntimeError as error:
        raise ModelError(f"pretrained_flow {path}: {' '.join(str(error).split())}") from error


def _flow_state(content: Any, path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The SpyNet entries of a checkpoint; the image statistics may be missing."""
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if isinstance(content, dict):
        for prefix in _FLOW_PREFIXES:
            state = {k: content[prefix + k] for k in wanted if prefix + k in content}
            if any(key.startswith("basic_module.") for key in state):
                return {"mean": wanted["mean"], "std": wanted["std"], **state}
    raise ModelError(f"pretrained_flow {path}: holds no SpyNet weights (basic_module.*)")
