"""Where in a step the device's memory has its peak, and what its allocator wastes, by rank."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class StagePeak:
    """Most bytes that tensors held while a stage ran in one direction, over the sampled steps."""

    name: str
    phase: str
    peak_bytes: float


@dataclass(frozen=True, kw_only=True)
class DeviceMemory:
    """One rank's device memory; None was not recorded.

    `peak_phase` and `peak_stage` say where the highest peak of the sampled steps was; the stage is
    None outside the stages. `unused_bytes` is the most that the allocator held at the end of a step
    beside what tensors held; `inactive_split_bytes` the part in split blocks, which cannot be
    given back. `alloc_retries` counts allocations that needed a flush first, in the whole run.
    """

    rank: int
    num_sampled: int
    peak_bytes: float | None
    peak_phase: str | None
    peak_stage: str | None
    unused_bytes: float | None
    inactive_split_bytes: float | None
    alloc_retries: float | None
    stages: tuple[StagePeak, ...]

    @property
    def peak_place(self) -> str | None:
        """The place of the peak in words: `vrt.stage3 backward`, `optimizer`."""
        return " ".join(part for part in (self.peak_stage, self.peak_phase) if part) or None


def compute_device_memory(run: Run) -> tuple[DeviceMemory, ...]:
    """Each rank whose steps hold figures of a device's allocator."""
    steps = run.tables.steps
    known = steps[steps["device_allocated_bytes"].notna()]
    ranks = sorted(int(rank) for rank in known["rank"].unique())
    return tuple(_of_rank(rank, known[known["rank"] == rank], run.tables.stages) for rank in ranks)


def _of_rank(rank: int, steps: pd.DataFrame, stages: pd.DataFrame) -> DeviceMemory:
    sampled = steps[steps["device_peak_phase"].notna()]
    highest: dict[Any, Any] = {}
    if len(sampled):
        peaks = sampled["device_peak_allocated_bytes"].fillna(0).to_numpy()
        highest = sampled.iloc[int(peaks.argmax())].to_dict()
    unused = (steps["device_reserved_bytes"] - steps["device_allocated_bytes"]).clip(lower=0)
    return DeviceMemory(
        rank=rank,
        num_sampled=len(sampled),
        peak_bytes=_known(highest.get("device_peak_allocated_bytes")),
        peak_phase=highest.get("device_peak_phase"),
        peak_stage=highest.get("device_peak_stage"),
        unused_bytes=_known(unused.max()),
        inactive_split_bytes=_known(steps["device_inactive_split_bytes"].max()),
        alloc_retries=_known(steps["device_alloc_retries"].max()),
        stages=_stage_peaks(stages[stages["rank"] == rank]),
    )


def _stage_peaks(rows: pd.DataFrame) -> tuple[StagePeak, ...]:
    """The highest first."""
    known = rows[rows["peak_allocated_bytes"].notna()]
    found = [
        StagePeak(
            name=str(part["name"].iloc[0]),
            phase=str(part["phase"].iloc[0]),
            peak_bytes=float(part["peak_allocated_bytes"].max()),
        )
        for _, part in known.groupby(["name", "phase"], observed=True)
    ]
    return tuple(sorted(found, key=lambda each: (-each.peak_bytes, each.name, each.phase)))


def _known(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
