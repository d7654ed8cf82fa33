"""The small reference kept in the repository: how it is made and what it holds.

    python tests/vrtspike/model/golden_small.py

writes golden_small.pt anew. Weights and inputs come from a formula (numpy's frozen RandomState
stream), so the file only holds outputs and gradients. It was made by a network that matched the
full reference files; it guards against changes since.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vrtspike.model.settings import FuseConfig, ModelConfig
from vrtspike.model.vrt import VRT
from vrtspike.model.vrt_spike import VRTSpike

FILE = Path(__file__).with_suffix(".pt")
GRADIENTS = (
    "vrt.conv_first.weight",
    "vrt.stage1.pa_deform.weight",
    "vrt.stage2.residual_group1.blocks.0.attn.qkv_mut.weight",
    "vrt.stage5.reshape.2.weight",
    "vrt.stage8.1.residual_group.blocks.1.attn.relative_position_bias_table",
    "vrt.spynet.basic_module.5.basic_module.8.weight",
    "spike_encoder.in_proj.weight",
    "spike_temporal_sa.blocks.1.attn.in_proj_weight",
    "cross_attn_fuse.fuse_blocks.3.ffn.0.weight",
)


def small_network(attention: str = "explicit") -> VRTSpike:
    vrt = VRT(
        attention=attention,
        window_size=(3, 4, 4),
        depths=(4, 2, 2, 2, 2, 2, 2, 2),
        indep_reconsts=(),
        embed_dims=(8,) * 8,
        num_heads=(2,) * 8,
        drop_path_rate=0.0,
        deformable_groups=2,
    )
    config = ModelConfig(
        channels_per_scale=(8,) * 4,
        num_heads=2,
        deform_groups=2,
        fuse=FuseConfig(chunk_size=24, heads=2),
    )
    network = VRTSpike(vrt, config, bins=3)
    fill(network)
    return network


def fill(network: nn.Module) -> None:
    """Weights from a formula, scaled so that signals neither vanish nor blow up."""
    draw = np.random.RandomState(7)
    for name, parameter in sorted(network.named_parameters()):
        spread = 1.0 / np.sqrt(max(1, parameter[0].numel()))
        values = draw.uniform(-spread, spread, size=tuple(parameter.shape))
        if "norm" in name or ".ln" in name or "reshape.1" in name:
            values = values * 0.2 + (1.0 if name.endswith("weight") else 0.0)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values))


def small_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Blurry clip, spikes and target; 40 and 48 divide neither by the window nor by 32."""
    draw = np.random.RandomState(8)
    shapes = ((1, 3, 3, 40, 48), (1, 3, 3, 20, 24), (1, 3, 3, 40, 48))
    blur, spikes, sharp = (torch.from_numpy(draw.uniform(size=s)).float() for s in shapes)
    return blur, spikes, sharp


def run(network: VRTSpike) -> dict[str, Any]:
    blur, spikes, sharp = small_inputs()
    network.zero_grad()
    output = network(blur, spikes)
    loss = torch.sqrt((output - sharp) ** 2 + 1e-9).mean()
    loss.backward()
    parameters = dict(network.named_parameters())
    return {
        "output": output.detach(),
        "loss": loss.item(),
        "grads": {name: parameters[name].grad.clone() for name in GRADIENTS},
        "grad_norm": {k: p.grad.double().norm().item() for k, p in parameters.items()},
    }


def flow_margin(network: VRTSpike) -> float:
    """Distance of the flows from a whole pixel, where nearest sampling jumps."""
    flows = network.vrt.spynet(small_inputs()[0])
    return min((f - f.round()).abs().min().item() for f in (flows[0], flows[4]))


if __name__ == "__main__":
    network = small_network()
    torch.save(run(network), FILE)
    print(FILE, FILE.stat().st_size, "bytes, flow margin", flow_margin(network))
