"""Runs on disk to report on, written with the trainer's own records; every figure is made up."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from vrtspike.profiling.records import (
    CopyRecord,
    FetchRecord,
    GpuRecord,
    HostRecord,
    LoaderRecord,
    MemoryRecord,
    ProcessRecord,
    ResourceRecord,
    RunRecord,
    SpanRecord,
    StagesRecord,
    StepRecord,
    to_line,
    to_meta_json,
)

GIB = 1 << 30
START_UNIX_S = 1_760_000_000.0
CONFIG = {
    "DATA": {"USE_PRECOMPUTED_VOXELS": True, "USE_RAM_CACHE": False, "CACHE_SIZE_GB": 4.0},
    "DATALOADER": {"TOTAL_WORKERS": 1, "TRAIN_PREFETCH_FACTOR": 4, "PIN_MEMORY": True},
    "MODEL": {"VRT_DEPTHS": [2] * 8, "ATTENTION": "auto"},
    "TRAIN": {"AMP_ENABLED": True, "AMP_DTYPE": "bf16"},
}
CPU = {
    "data_wait": 4.0,
    "h2d": 1.0,
    "forward": 300.0,
    "loss": 1.0,
    "backward": 600.0,
    "optimizer": 30.0,
    "other": 4.0,
}
STARVED = CPU | {"data_wait": 600.0, "forward": 100.0, "backward": 200.0}
STAGES = {"flow": 0.10, "vrt.stage1": 0.30, "vrt.stage8": 0.55, "forward.other": 0.05}
META = RunRecord(
    run_id="train_20260102_030405_ab12",
    started_at="2026-01-02T03:04:05+00:00",
    ended_at="2026-01-02T03:10:05+00:00",
    status="finished",
    host="box",
    device={"type": "cpu", "name": "Test CPU", "count": 1},
    config=CONFIG,
    stages=tuple(STAGES),
    total_steps=41,
)
GPU_META = replace(
    META,
    clock="device",
    device={
        "type": "cuda",
        "name": "Test GPU",
        "index": 0,
        "memory_total_bytes": 24 * GIB,
        "compute_capability": "8.6",
    },
)


def step_record(step, phases, clock, **fields):
    """A step whose odd and even times differ by one per cent, so that spread is not zero."""
    wobble = 1.01 if step % 2 else 0.99
    times = {name: ms * wobble for name, ms in phases.items()}
    times["step"] = sum(times.values())
    return StepRecord(
        step=step,
        start_unix_s=START_UNIX_S + step,
        micro_batches=1,
        samples=2,
        clock=clock,
        host_ms=times,
        device_ms=times if clock == "device" else None,
        tags=("first",) if step == 1 else (),
        loss=1.0 / step,
        grad_norm=0.25,
        memory=MemoryRecord(process_rss_bytes=2 * GIB),
        **fields,
    )


def stages_record(record, shares):
    times = record.device_ms or record.host_ms
    return StagesRecord(
        step=record.step,
        phase="forward",
        clock=record.clock,
        ms={name: times["forward"] * share for name, share in shares.items()},
        calls=dict.fromkeys(shares, 1),
    )


def resource_record(at, gpu):
    util = GpuRecord(
        index=0,
        name="Test GPU",
        util_percent=28.0,
        memory_used_bytes=8 * GIB,
        memory_total_bytes=24 * GIB,
    )
    return ResourceRecord(
        at_unix_s=START_UNIX_S + at,
        host=HostRecord(
            ram_total_bytes=64 * GIB,
            ram_available_bytes=48 * GIB,
            ram_percent=25.0,
            cpu_percent=40.0,
            cpus_allowed=16,
        ),
        processes=(
            ProcessRecord(pid=10, role="main", name="python", rss_bytes=2 * GIB),
            ProcessRecord(pid=11, role="worker", name="python", rss_bytes=GIB),
        ),
        gpus=(util,) if gpu else None,
        gpus_absent_reason=None if gpu else "no NVIDIA driver",
    )


def loader_fields(ready, pinned_bytes):
    """One batch of two samples a step, mostly decoded; copied to a device."""
    parts = {"read": 70.0, "decode": 640.0, "voxelise": 180.0, "collate": 18.0, "other": 28.0}
    fetch = FetchRecord(
        wait_ms=640.0, ready=ready, worker=0, samples=2, made_ms=sum(parts.values()), queued_ms=2.0
    )
    copied = CopyRecord(bytes=24 << 20, pinned_bytes=pinned_bytes)
    return {"loader": LoaderRecord(fetches=(fetch,), part_ms=parts), "copy": copied}


def write_run(folder: Path, meta, phases, steps=41, stages=STAGES, **fields) -> Path:
    """A facts folder with steps, stages, two validations and samples of the machine."""
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(to_meta_json(meta), "utf-8")
    records = [step_record(step, phases, meta.clock, **fields) for step in range(1, steps + 1)]
    spans = [stages_record(record, stages) for record in records]
    validations = [
        SpanRecord(
            name="validation",
            step=step,
            start_unix_s=START_UNIX_S + step,
            host_ms=900.0,
            values={"psnr_rgb_db": psnr, "ssim_y": 0.9, "input_psnr_rgb_db": 27.0},
        )
        for step, psnr in ((20, 27.5), (40, 28.0))
    ]
    samples = [resource_record(at, meta.clock == "device") for at in range(1, steps + 1)]
    for name, lines in (
        ("steps.rank0.jsonl", records),
        ("spans.rank0.jsonl", [*spans, *validations]),
        ("resources.box.jsonl", samples),
    ):
        (folder / name).write_text("".join(map(to_line, lines)), "utf-8")
    return folder


@pytest.fixture
def new_run(tmp_path):
    """A function that writes a run below the test's folder."""
    numbers = itertools.count()

    def write(meta=META, phases=CPU, **fields):
        return write_run(tmp_path / "profiles" / f"run{next(numbers)}", meta, phases, **fields)

    return write


@pytest.fixture
def gpu_meta():
    """What meta.json says of a run on a GPU."""
    return GPU_META


@pytest.fixture
def cpu_run(new_run):
    """A healthy run on a CPU."""
    return new_run()


@pytest.fixture
def starved_run(new_run):
    """A run on a GPU that waits for one loader process most of the time."""
    return new_run(meta=GPU_META, phases=STARVED, **loader_fields(ready=0, pinned_bytes=0))
