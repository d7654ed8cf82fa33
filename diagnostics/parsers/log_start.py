"""What the start-up lines of a log say about the run: its settings, its GPU, its samples a step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class LogStart:
    """The start of a run. `samples_per_step` is of all ranks; None where a factor is unknown."""

    config: Mapping[str, Any] = field(default_factory=dict)
    device: Mapping[str, str | int | None] = field(default_factory=dict)
    world_size: int | None = None
    total_steps: int | None = None
    samples_per_step: int | None = None
    timing_log: str | None = None


def start_of(settings: Mapping[str, Any], gpus: Mapping[int, tuple[str, float]]) -> LogStart:
    """From settings by dotted key, and GPUs by number with name and size in GiB."""
    config: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, dot, name = key.partition(".")
        if dot:
            config.setdefault(section, {})[name] = value
    world_size = settings.get("world_size") or (1 if "num_gpus" in settings else None)
    device: dict[str, str | int | None] = {}
    if gpus:
        name, size_gib = gpus[min(gpus)]
        device = {"type": "cuda", "name": name, "memory_total_bytes": round(size_gib * GIB)}
    elif settings.get("num_gpus"):
        device = {"type": "cuda"}
    factors = (
        settings.get("TRAIN.BATCH_SIZE"),
        world_size,
        settings.get("TRAIN.GRADIENT_ACCUMULATION_STEPS"),
    )
    samples = 1
    for factor in factors:
        samples *= factor or 0
    return LogStart(
        config=config,
        device=device,
        world_size=world_size,
        total_steps=settings.get("total_steps"),
        samples_per_step=samples or None,
        timing_log=settings.get("timing_log"),
    )
