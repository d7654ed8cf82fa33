"""What a configuration will ask of one machine, as plain data for a forecast; needs no PyTorch.

Sizes that follow from the configuration are computed; those of a process and of a device's runtime
were measured once, where and how stands beside each.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from vrtspike.config import Config, config_to_mapping
from vrtspike.data.hit_rates import Loading, hit_rates
from vrtspike.data.plan import (
    CropShape,
    DataSize,
    crop_shape,
    documented_frame_bytes,
    fast_store_bytes,
    largest_crop,
    loading_scratch_bytes,
    measure_data,
    order_plan,
)
from vrtspike.loading_plan import loading_plan, worker_choice
from vrtspike.measured_costs import MeasuredCosts, standard_sizes
from vrtspike.model.cost_terms import FLOAT_BYTES, total
from vrtspike.model.costs import ClipShape, inference_bytes, stage_costs

MIB = 1 << 20
ADAM_MOMENTS = 2
CROPS = (192, 160, 128, 96, 64)
MIN_CROP, SIDE_MULTIPLE = 64, 8

SAMPLER_BYTES = 20 * MIB
CUDA_CONTEXT_BYTES = 512 * MIB
CPU_SLACK_SHARE, CUDA_SLACK_SHARE = 0.3, 0.1
SOURCES = {
    "sampler_bytes": "PSS of the resource sampler, Linux",
    "overhead_bytes": (
        "on the CPU 30 % of the working memory: resident memory was 1.2 to 1.6 times the live "
        "tensors with glibc's allocator; on a GPU an estimate of its context and of 10 % slack"
    ),
}

Setting = bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the run would go: ranks on this machine, and the cores they share.

    `machines` are all alike. `gpus` are those of this one; None where they do not matter.
    """

    device: Literal["cpu", "cuda"]
    ranks: int
    cores: int
    machines: int = 1
    gpus: int | None = None


_CURVE_SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Cache sizes that a forecast compares, as parts of what all training frames take decoded."""


def memory_demand(
    config: Config, source: str, machine: Machine, known: MeasuredCosts | None = None
) -> dict[str, Any]:
    """Everything that a forecast for one machine needs.

    Args:
        config: the run's configuration.
        source: where it was read from, for the report.
        machine: where it would run.
        known: what was measured for it.

    Raises:
        DataError: the data set's root exists but is no data set.
    """
    size = measure_data(config.data)
    known = known or MeasuredCosts()
    sizes = known.sizes or standard_sizes(machine.device)
    clip = training_clip(config, size, machine)
    return {
        "config": source,
        "device": machine.device,
        "ranks": machine.ranks,
        "machines": machine.machines,
        "data": _data(config, size),
        "loader": _loader(config, size, machine, known),
        "loading_plan": loading_plan(config, machine.ranks, machine.cores, known),
        "model": _model(config, size, machine),
        "model_changes": [
            {"changes": changes, "model": _model(changed, size, machine)}
            for changes, changed in _leaner(config, machine)
        ],
        "stages": [
            {
                "name": name,
                "parameters": cost.parameters,
                "forward_flops": cost.flops,
                "saved_bytes": cost.saved_bytes,
            }
            for name, cost in stage_costs(config.model, clip).items()
        ],
        "trainer_start_bytes": sizes.trainer_bytes,
        "library_bytes": sizes.library_bytes,
        "launcher_bytes": sizes.launcher_bytes if machine.ranks * machine.machines > 1 else 0,
        "old_pages_bytes": sizes.old_pages_bytes,
        "are_sizes_assumed": known.sizes is None,
        "sizes_assumed_because": None if known.sizes is not None else known.cost_unknown,
        "sampler_bytes": SAMPLER_BYTES if config.profiling.resources else 0,
        "sources": {"process_sizes": sizes.source, **SOURCES},
        "uncounted": list(_uncounted(config)),
        "settings": config_to_mapping(config),
    }


def _data(config: Config, size: DataSize) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(size).items() if name in _DATA_KEYS}
    return {
        **kept,
        "decoded_frame_bytes": size.cached_frame_bytes,
        "fast_store_bytes": fast_store_bytes(size) if config.data.fast_store else 0,
        "float_frame_bytes": documented_frame_bytes(size.height, size.width, config.data.k),
    }


_DATA_KEYS = frozenset(
    {
        "root",
        "is_assumed",
        "train_frames",
        "val_frames",
        "train_samples",
        "val_samples",
        "height",
        "width",
        "spike_bytes",
    }
)


def _loader(
    config: Config, size: DataSize, machine: Machine, known: MeasuredCosts
) -> dict[str, Any]:
    loading, train = config.dataloader, config.train
    choice = worker_choice(config, machine.ranks, machine.cores, known)
    sizes = known.sizes or standard_sizes(machine.device)
    is_lean = config.data.hands_over_bytes(cuda=machine.device == "cuda")
    crop = crop_shape(config.data, size, largest_crop(config.data), is_lean=is_lean)
    val_crop = crop_shape(config.data, size, config.data.val_crop_size, is_lean=is_lean)
    decodes = config.data.fast_store is None
    scratch = loading_scratch_bytes(crop, size, train.batch_size, decodes=decodes)
    is_pinned = loading.pin_memory and machine.device == "cuda"
    return {
        "workers_setting": loading.total_workers,
        "workers_per_rank": choice.per_rank,
        "worker_rule": choice.explanation,
        "val_workers_per_rank": (choice.per_rank + 1) // 2,
        "train_prefetch": loading.train_prefetch_factor,
        "val_prefetch": loading.val_prefetch_factor,
        "train_batch_bytes": train.batch_size * crop.handed_sample_bytes,
        "val_batch_bytes": train.val_batch_size * val_crop.handed_sample_bytes,
        "pinned_train_batch_bytes": crop.pinned_batch_bytes(train.batch_size)
        if is_pinned
        else None,
        "pinned_val_batch_bytes": val_crop.pinned_batch_bytes(train.val_batch_size)
        if is_pinned
        else None,
        "is_nameless": hasattr(os, "memfd_create"),  # as vrtspike.data.nameless makes them
        "worker_start_bytes": sizes.worker_start_bytes(scratch),
        "train_scratch_bytes": scratch,
        "val_scratch_bytes": loading_scratch_bytes(
            val_crop, size, train.val_batch_size, decodes=decodes
        ),
        "use_cache": config.data.fills_cache,
        "cache_gib": config.data.cache_size_gb,
        "sample_order": config.data.sample_order,
        "hit_rates": _hit_rates(config, size, machine, choice.per_rank),
    }


def _hit_rates(
    config: Config, size: DataSize, machine: Machine, workers: int
) -> list[dict[str, Any]]:
    """For the configured budget, and for parts of what all frames would take."""
    whole = size.train_frames * size.cached_frame_bytes
    sizes = {round(share * whole) for share in _CURVE_SHARES}
    configured = int(config.data.cache_size_gb * 2**30) if config.data.fills_cache else None
    rates = hit_rates(
        order_plan(config.data, size),
        frame_bytes=size.cached_frame_bytes,
        seed=config.seed,
        loading=Loading(
            ranks=machine.ranks,
            machines=machine.machines,
            workers=workers,
            cores=max(1, machine.cores // machine.ranks),
            batch_size=config.train.batch_size,
        ),
        cache_bytes=sorted(sizes if configured is None else {*sizes, configured}),
    )
    return [{**asdict(rate), "is_configured": rate.cache_bytes == configured} for rate in rates]


def _model(config: Config, size: DataSize, machine: Machine) -> dict[str, Any]:
    """Memory of one rank's network; weights, gradients and both moments of AdamW are float32."""
    train_clip = training_clip(config, size, machine)
    whole = total(stage_costs(config.model, train_clip).values())
    val_shape = crop_shape(config.data, size, config.data.val_crop_size)
    val_clip = _clip(config, val_shape, config.train.val_batch_size, machine, training=False)
    weights = whole.parameters * FLOAT_BYTES
    crop = crop_shape(config.data, size, largest_crop(config.data))
    batch = config.train.batch_size * crop.sample_bytes
    validation = inference_bytes(config.model, val_clip)
    validation += config.train.val_batch_size * val_shape.sample_bytes
    working = max(batch + whole.saved_bytes + whole.peak_bytes, validation)
    return {
        "parameters": whole.parameters,
        "weight_bytes": weights,
        "gradient_bytes": weights,
        "optimizer_bytes": ADAM_MOMENTS * weights,
        "low_precision_weight_bytes": weights // 2 if train_clip.half else 0,
        "batch_bytes": batch,
        "activation_bytes": whole.saved_bytes,
        "transient_bytes": whole.peak_bytes,
        "validation_bytes": validation,
        "overhead_bytes": _overhead_bytes(working, machine),
    }


def _overhead_bytes(working_bytes: int, machine: Machine) -> int:
    if machine.device == "cuda":
        return CUDA_CONTEXT_BYTES + int(CUDA_SLACK_SHARE * working_bytes)
    return int(CPU_SLACK_SHARE * working_bytes)


def training_clip(config: Config, size: DataSize, machine: Machine) -> ClipShape:
    """One batch of the training, at the largest crop that it will have."""
    shape = crop_shape(config.data, size, largest_crop(config.data))
    return _clip(config, shape, config.train.batch_size, machine, training=True)


def _clip(
    config: Config, shape: CropShape, batch: int, machine: Machine, *, training: bool
) -> ClipShape:
    """The clip as the network gets it; attention "auto" is explicit when training on a CPU."""
    attention = config.model.attention
    is_explicit = attention == "explicit" or (
        attention == "auto" and machine.device == "cpu" and training
    )
    return ClipShape(
        batch=batch,
        frames=shape.frames,
        height=shape.height,
        width=shape.width,
        spike_height=shape.spike_height,
        spike_width=shape.spike_width,
        bins=shape.bins,
        half=config.train.amp_enabled and machine.device == "cuda",
        fused=not is_explicit,
    )


Edit = tuple[str, Setting, Setting]


def _leaner(config: Config, machine: Machine) -> Iterator[tuple[list[dict[str, Any]], Config]]:
    """Configurations whose network needs less, each further on, with all changes up to there.

    First what keeps the results, then what keeps the batch of an optimizer step, last the crops.
    """
    edited: dict[str, tuple[Setting, Setting]] = {}
    for edits, changed in _lean_steps(config, machine):
        for key, current, proposed in edits:
            edited[key] = (edited.get(key, (current, None))[0], proposed)
        yield (
            [{"key": k, "current": now, "proposed": then} for k, (now, then) in edited.items()],
            changed,
        )


def _lean_steps(config: Config, machine: Machine) -> Iterator[tuple[list[Edit], Config]]:
    if machine.device == "cuda" and not config.train.amp_enabled:
        config = replace(config, train=replace(config.train, amp_enabled=True))
        yield [("TRAIN.AMP_ENABLED", False, True)], config
    if machine.device == "cuda" and config.model.attention == "explicit":
        config = replace(config, model=replace(config.model, attention="auto"))
        yield [("MODEL.ATTENTION", "explicit", "auto")], config
    for key in ("use_checkpoint_attn", "use_checkpoint_ffn"):
        if not getattr(config.model.vrt, key):
            switches = replace(config.model.vrt, **{key: True})
            config = replace(config, model=replace(config.model, vrt=switches))
            yield [(f"MODEL.VRT.{key.upper()}", False, True)], config
    while config.train.batch_size > 1:
        edits, config = _half_batch(config)
        yield edits, config
    if config.data.val_crop_size is None:
        crop = largest_crop(config.data)
        config = replace(config, data=replace(config.data, val_crop_size=crop))
        yield [("DATA.VAL_CROP_SIZE", None, crop)], config
    yield from _smaller_crops(config)


def _half_batch(config: Config) -> tuple[list[Edit], Config]:
    """Half the batch in twice the micro-batches: an optimizer step still sees as many clips."""
    train = config.train
    half = replace(
        train,
        batch_size=train.batch_size // 2,
        gradient_accumulation_steps=train.gradient_accumulation_steps * 2,
    )
    edits: list[Edit] = [
        ("TRAIN.BATCH_SIZE", train.batch_size, half.batch_size),
        (
            "TRAIN.GRADIENT_ACCUMULATION_STEPS",
            train.gradient_accumulation_steps,
            half.gradient_accumulation_steps,
        ),
    ]
    return edits, replace(config, train=half)


def _smaller_crops(config: Config) -> Iterator[tuple[list[Edit], Config]]:
    """Crops down to the smallest that the network takes; a schedule of crops is left alone."""
    if config.data.crop_schedule:
        return
    window = config.model.window_size
    side = window if isinstance(window, int) else max(window[1:])
    least = max(MIN_CROP, SIDE_MULTIPLE * side)
    for crop in CROPS:
        now = config.data.crop_size
        if least <= crop < now:
            config = replace(config, data=replace(config.data, crop_size=crop))
            yield [("DATA.CROP_SIZE", now, crop)], config
            val_crop = config.data.val_crop_size
            if val_crop is not None and val_crop > crop:  # else validation decides what must fit
                config = replace(config, data=replace(config.data, val_crop_size=crop))
                yield [("DATA.VAL_CROP_SIZE", val_crop, crop)], config


def _uncounted(config: Config) -> Iterator[str]:
    """What the figures leave out, where the configuration asks for it."""
    yield "files in the page cache, which the system gives back on demand"
    if config.train.distillation.teacher_checkpoint is not None:
        yield "the teacher network of TRAIN.DISTILLATION"
    if config.loss.vgg_perceptual.weight > 0:
        yield "the VGG-16 network of LOSS.VGG_PERCEPTUAL and its activations"
    if config.train.compile_model:
        yield "what TRAIN.COMPILE_MODEL saves or adds, and its compiler's memory on the host"
