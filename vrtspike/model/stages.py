"""Where the stages of the forward pass are in the module tree; needs no PyTorch.

Whoever measures the network hooks these submodules from outside. Stages are disjoint: no
submodule listed here lies inside another.
"""

from collections.abc import Sequence

NUM_STAGES = 8


def stage_submodules(
    use_spike: bool, fusion_scales: Sequence[int] = (1, 2, 3, 4), prefix: str = ""
) -> dict[str, tuple[str, ...]]:
    """Stage names, in the order they run, and the submodules whose times they sum.

    Args:
        use_spike: whether the network is VRTSpike or the bare VRT.
        fusion_scales: stages followed by fusion.
        prefix: put before every submodule path, for example "module.".
    """
    vrt = prefix + ("vrt." if use_spike else "")
    stages: dict[str, tuple[str, ...]] = {}
    if use_spike:
        stages["spike_encoder"] = (f"{prefix}spike_encoder",)
        stages["temporal_attention"] = (f"{prefix}spike_temporal_sa",)
    stages["flow"] = (f"{vrt}spynet",)
    stages["vrt.input"] = (f"{vrt}frame_warp", f"{vrt}conv_first")
    for number in range(1, NUM_STAGES + 1):
        stages[f"vrt.stage{number}"] = (f"{vrt}stage{number}",)
        if use_spike and number in fusion_scales:
            block = f"{prefix}cross_attn_fuse.fuse_blocks.{number - 1}"
            stages[f"fusion{number}"] = (block,)
    stages["vrt.output"] = tuple(f"{vrt}{m}" for m in ("norm", "conv_after_body", "conv_last"))
    return stages
