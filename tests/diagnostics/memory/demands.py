"""A made-up demand and machine for the tests of the forecast; numbers are round on purpose."""

from dataclasses import replace
from typing import Any

from diagnostics.analyses.machine_capacity import Capacity, Room
from diagnostics.analyses.memory_demand import (
    DataDemand,
    Demand,
    LoaderDemand,
    ModelChange,
    ModelDemand,
    SettingChange,
    StageDemand,
)

MIB, GIB = 1 << 20, 1 << 30

MODEL = ModelDemand(
    parameters=MIB,
    weight_bytes=4 * MIB,
    gradient_bytes=4 * MIB,
    optimizer_bytes=8 * MIB,
    low_precision_weight_bytes=0,
    batch_bytes=MIB,
    activation_bytes=2 * GIB,
    transient_bytes=100 * MIB,
    validation_bytes=GIB,
    overhead_bytes=0,
)
LOADER = LoaderDemand(
    workers_setting="auto",
    workers_per_rank=6,
    worker_rule="TOTAL_WORKERS auto: 6",
    val_workers_per_rank=3,
    train_prefetch=4,
    val_prefetch=2,
    train_batch_bytes=10 * MIB,
    val_batch_bytes=5 * MIB,
    pinned_train_batch_bytes=None,
    pinned_val_batch_bytes=None,
    worker_start_bytes=50 * MIB,
    train_scratch_bytes=30 * MIB,
    val_scratch_bytes=20 * MIB,
    use_cache=True,
    cache_gib=20.0,
)
DEMAND = Demand(
    config="some.yaml",
    device="cpu",
    ranks=1,
    data=DataDemand(
        root="data",
        is_assumed=True,
        train_frames=2103,
        val_frames=1111,
        train_samples=2015,
        val_samples=214,
        decoded_frame_bytes=8 * MIB,
        float_frame_bytes=134 * MIB,
    ),
    loader=LOADER,
    model=MODEL,
    model_changes=(
        ModelChange(
            changes=(
                SettingChange(key="MODEL.VRT.USE_CHECKPOINT_ATTN", current=False, proposed=True),
            ),
            model=replace(MODEL, activation_bytes=GIB),
        ),
        ModelChange(
            changes=(
                SettingChange(key="MODEL.VRT.USE_CHECKPOINT_ATTN", current=False, proposed=True),
                SettingChange(key="DATA.CROP_SIZE", current=256, proposed=128),
            ),
            model=replace(MODEL, activation_bytes=GIB // 4, validation_bytes=GIB // 8),
        ),
    ),
    stages=(StageDemand(name="flow", parameters=MIB, forward_flops=10**9, saved_bytes=2 * GIB),),
    trainer_start_bytes=245 * MIB,
    sampler_bytes=20 * MIB,
    sources={"trainer_start_bytes": "measured"},
    uncounted=("page cache",),
)


def machine(**changes: Any) -> Capacity:
    """64 GiB, a sixteenth of it in use, 8 cores, and half of the memory as /dev/shm."""
    roomy = Capacity(
        memory_limit_bytes=64 * GIB,
        memory_limit_source="the machine's memory",
        available_bytes=60 * GIB,
        ram_total_bytes=64 * GIB,
        shm_total_bytes=32 * GIB,
        shm_free_bytes=32 * GIB,
        cores=8,
        cores_source="all cores of the machine",
    )
    made = replace(roomy, **changes)
    if made.memory_limit_bytes is None or made.available_bytes is None:
        return made
    room = Room(made.memory_limit_bytes, made.available_bytes, made.memory_limit_source)
    return replace(made, rooms=(room,))
