"""The parts that every recorder has, as its settings say."""

import re
from pathlib import Path

import torch

from vrtspike.profiling.black_box import BlackBox, BoxPlan
from vrtspike.profiling.clock import SystemClock
from vrtspike.profiling.machine_sampling import MachineSampling, cache_budget_bytes
from vrtspike.profiling.memory_snapshot import MemorySnapshots
from vrtspike.profiling.parts import RecorderPart
from vrtspike.profiling.rank_device import RankDevice
from vrtspike.profiling.recording import RankPlace, RecordingPlan
from vrtspike.profiling.records import RunRecord


def own_parts(
    facts_dir: Path, run: RunRecord, plan: RecordingPlan, device: torch.device, place: RankPlace
) -> list[RecorderPart]:
    """What samples the machine (one for each), the rank's GPU and its black box."""
    settings = plan.settings
    samples = facts_dir / f"resources.{host_part(run)}.jsonl"
    parts: list[RecorderPart] = []
    if settings.resources:
        parts.append(RankDevice(device))
    if settings.resources and place.samples_machine:
        cache_bytes = 0 if run.trainer == "own" else cache_budget_bytes(run.config)
        sampling = MachineSampling(
            samples,
            settings.resource_interval_s,
            cache_bytes,
            redact=run.redacted,
            has_log=place.rank == 0,
        )
        parts.append(sampling)
    if settings.black_box:
        box = BoxPlan(
            run_id=run.run_id,
            rank=place.rank,
            num_steps=settings.black_box_steps,
            max_files=settings.black_box_files,
            hang_after_s=settings.hang_after_s,
            resources=samples if settings.resources else None,
            redact=run.redacted,
        )
        memory = MemorySnapshots(facts_dir / "memory", place.rank, device, settings.memory_history)
        parts.append(BlackBox(box, SystemClock(), memory))
    return parts


def host_part(run: RunRecord) -> str:
    """The host's name as a part of file names."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", run.host or "host")
