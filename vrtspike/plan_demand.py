"""What a step of each plan does and needs, as plain data for a prediction; needs no PyTorch.

A measured run gives the times, this gives the work: FLOPs and bytes of every stage for the run and
for each plan, so that the tools can scale the one by the other. They know nothing of this code.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vrtspike.config import Config, config_to_mapping, load_config
from vrtspike.data.plan import crop_shape, largest_crop, measure_data
from vrtspike.errors import ConfigError
from vrtspike.memory_demand import Machine, memory_demand
from vrtspike.model.costs import ClipShape, stage_costs, total_cost
from vrtspike.model.settings import NUM_TRUNK_STAGES, CheckpointingConfig
from vrtspike.step_settings import decisive_settings

MAX_PLANS = 32


def load_plans(folder: Path) -> dict[str, Config]:
    """The configurations in a folder, by name of their file.

    Raises:
        ConfigError: the folder cannot be read, holds none, or one of them is wrong.
    """
    try:
        files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error.strerror}") from None
    if not files:
        raise ConfigError(f"{folder}: holds no configuration (*.yaml)")
    if len(files) > MAX_PLANS:
        raise ConfigError(f"{folder}: holds {len(files)} configurations; at most {MAX_PLANS}")
    return {path.stem: load_config(path) for path in files}


def plan_demand(run: Config, plans: Mapping[str, Config], machine: Machine) -> dict[str, Any]:
    """The work of the run's own configuration and of each plan on one machine.

    Args:
        run: what the measured run was configured with.
        plans: by name, what is to be predicted.
        machine: where the run was measured.

    Raises:
        DataError: a data set's root exists but is no data set.
    """
    return {
        "run": _work("run", run, machine),
        "plans": [_work(name, plan, machine) for name, plan in plans.items()],
    }


def _work(name: str, config: Config, machine: Machine) -> dict[str, Any]:
    """One optimizer step of one rank; costs of stages are those of one micro-batch in float32."""
    clip = _clip(config, machine)
    # Checkpointing keeps less and computes the same: what is kept without it tells the traffic.
    model = replace(config.model, vrt=CheckpointingConfig())
    demand = memory_demand(config, name, machine)
    train = config.train
    return {
        "name": name,
        "settings": dict(decisive_settings(config_to_mapping(config))),
        "micro_batches": train.gradient_accumulation_steps,
        "samples_per_step": train.batch_size * train.gradient_accumulation_steps * machine.ranks,
        "pixels": clip.pixels,
        "batch_bytes": demand["model"]["batch_bytes"],
        "parameters": total_cost(model, clip).parameters,
        "is_half": train.amp_enabled and machine.device == "cuda",
        "stages": [
            {
                "name": stage,
                "flops": cost.flops,
                "kept_bytes": cost.saved_bytes,
                "blocks": _blocks(stage, config),
            }
            for stage, cost in stage_costs(model, clip).items()
        ],
        "model": demand["model"],
        "start_bytes": demand["trainer_start_bytes"] if machine.device == "cpu" else 0,
    }


def _blocks(stage: str, config: Config) -> int:
    """Layers that run one after the other, each with a price of its own however small it is.

    A transformer block counts as one; so does each warp and alignment of a frame to its neighbour,
    each level of the flow, and each scale of the spike branch.
    """
    depths, neighbours = config.model.vrt_depths, 2 * (config.data.clip_len - 1)
    if stage == "vrt.stage8":
        return sum(depths[NUM_TRUNK_STAGES:])
    if stage.startswith("vrt.stage"):
        return depths[int(stage.removeprefix("vrt.stage")) - 1] + neighbours
    scales = max(1, len(config.model.fuse.scales))
    return {"flow": 6, "vrt.input": neighbours, "spike_encoder": scales}.get(stage, 1)


def _clip(config: Config, machine: Machine) -> ClipShape:
    shape = crop_shape(config.data, measure_data(config.data), largest_crop(config.data))
    attention = config.model.attention
    is_explicit = attention == "explicit" or (attention == "auto" and machine.device == "cpu")
    return ClipShape(
        batch=config.train.batch_size,
        frames=shape.frames,
        height=shape.height,
        width=shape.width,
        spike_height=shape.spike_height,
        spike_width=shape.spike_width,
        bins=shape.bins,
        half=False,
        fused=not is_explicit,
    )
