"""What each GPU did: use, power, clock limits by reason, energy, when it did not answer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnostics.analyses.levels import Level, growth, known, level
from diagnostics.run import Run

# NVML API reference, "NvmlClocksEventReasons": the bits of the mask.
THROTTLE_BITS = {
    "idle": 0x1,
    "application clocks": 0x2,
    "power cap": 0x4,
    "hardware slowdown": 0x8,
    "sync boost": 0x10,
    "thermal, by driver": 0x20,
    "thermal, by hardware": 0x40,
    "power brake": 0x80,
    "display clocks": 0x100,
    "board limit": 0x200,
    "reliability": 0x400,
}
_LEVELS = (
    "util_percent",
    "memory_util_percent",
    "memory_used_bytes",
    "power_w",
    "temperature_c",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "pcie_tx_bytes_per_s",
    "pcie_rx_bytes_per_s",
    "sm_active_percent",
    "sm_occupancy_percent",
    "tensor_active_percent",
    "dram_active_percent",
    "nvlink_tx_bytes_per_s",
    "nvlink_rx_bytes_per_s",
)
MAX_GAP_INTERVALS = 5.0
"""Power over a longer gap between samples is unknown and not integrated."""


@dataclass(frozen=True, kw_only=True)
class GpuSummary:
    """One GPU of one machine over the run, or one instance of a divided one.

    `ranks` trained on it; empty where no rank said so. `throttle_share` maps each reason for lower
    clocks that occurred to the share of samples that had it; "idle" is no fault. `energy_j` is from
    the GPU's counter, or its power over time (`energy_source` says which). `failed_share` is the
    share of samples in which it did not answer, for `error`. `unsupported` names the fields that
    its driver does not tell.
    """

    host: str
    index: int
    mig_index: int | None
    uuid: str | None
    name: str | None
    ranks: tuple[int, ...]
    num_samples: int
    util_percent: Level
    memory_util_percent: Level
    memory_used_bytes: Level
    memory_total_bytes: float | None
    power_w: Level
    power_limit_w: float | None
    temperature_c: Level
    sm_clock_mhz: Level
    memory_clock_mhz: Level
    pcie_tx_bytes_per_s: Level
    pcie_rx_bytes_per_s: Level
    sm_active_percent: Level
    sm_occupancy_percent: Level
    tensor_active_percent: Level
    dram_active_percent: Level
    nvlink_tx_bytes_per_s: Level
    nvlink_rx_bytes_per_s: Level
    throttle_reasons: int | None
    throttle_share: Mapping[str, float]
    energy_j: float | None
    energy_source: str | None
    failed_share: float
    error: str | None
    unsupported: tuple[str, ...]


def compute_gpu_load(run: Run) -> tuple[GpuSummary, ...]:
    """One summary for each GPU and instance in the table `gpus`."""
    ranks, unsupported = ranks_by_uuid(run), _unsupported(run)
    return tuple(
        _summary(key, rows, ranks, unsupported) for key, rows in split_gpus(run.tables.gpus)
    )


Key = tuple[str, int, int | None]


def split_gpus(gpus: pd.DataFrame) -> list[tuple[Key, pd.DataFrame]]:
    """The rows of each GPU and instance, by machine, number and instance."""
    if not len(gpus):
        return []
    names = gpus["host"].astype(str)
    places = gpus["mig_index"].fillna(-1).astype("int64")
    keys = sorted(set(zip(names, gpus["index"], places, strict=True)))
    return [
        (
            (host, int(index), None if mig < 0 else int(mig)),
            gpus[(names == host) & (gpus["index"] == index) & (places == mig)],
        )
        for host, index, mig in keys
    ]


def ranks_by_uuid(run: Run) -> dict[str, tuple[int, ...]]:
    """Which ranks trained on the GPU of each UUID, as the ranks themselves said."""
    events = run.tables.events
    said = events[events["name"] == "rank_device"]
    found: dict[str, set[int]] = {}
    for rank, values in zip(said["rank"], said["values"], strict=True):
        uuid = values.get("uuid")
        if isinstance(uuid, str):
            found.setdefault(bare_uuid(uuid), set()).add(int(rank))
    return {uuid: tuple(sorted(ranks)) for uuid, ranks in found.items()}


def bare_uuid(uuid: str) -> str:
    """A UUID without its kind: CUDA leaves out what NVML puts before it."""
    return uuid.removeprefix("GPU-").removeprefix("MIG-").lower()


def _unsupported(run: Run) -> dict[str, tuple[str, ...]]:
    events = run.tables.events
    said = events.loc[events["name"] == "gpu_fields_unsupported", "values"]
    found: dict[str, tuple[str, ...]] = {}
    for values in said:
        uuid, fields = values.get("uuid"), values.get("fields")
        if isinstance(uuid, str) and isinstance(fields, str):
            found[uuid] = tuple(sorted({*found.get(uuid, ()), *fields.split()}))
    return found


def _summary(
    key: Key,
    rows: pd.DataFrame,
    ranks: Mapping[str, tuple[int, ...]],
    unsupported: Mapping[str, tuple[str, ...]],
) -> GpuSummary:
    uuid, errors = _last_text(rows["uuid"]), rows["error"].dropna()
    reasons = rows["throttle_reasons"].dropna().astype("int64").to_numpy()
    energy = energy_curve(rows)
    return GpuSummary(
        host=key[0],
        index=key[1],
        mig_index=key[2],
        uuid=uuid,
        name=_last_text(rows["name"]),
        ranks=ranks.get(bare_uuid(uuid), ()) if uuid else (),
        num_samples=len(rows),
        memory_total_bytes=known(rows["memory_total_bytes"].max()),
        power_limit_w=known(rows["power_limit_w"].max()),
        throttle_reasons=int(np.bitwise_or.reduce(reasons)) if len(reasons) else None,
        throttle_share={
            name: float((reasons & bit > 0).mean())
            for name, bit in THROTTLE_BITS.items()
            if len(reasons) and (reasons & bit).any()
        },
        energy_j=energy.total_j if energy else None,
        energy_source=energy.source if energy else None,
        failed_share=len(errors) / len(rows),
        error=str(errors.iloc[-1]) if len(errors) else None,
        unsupported=unsupported.get(uuid, ()) if uuid else (),
        **{name: level(rows[name]) for name in _LEVELS},
    )


def _last_text(values: "pd.Series[str]") -> str | None:
    held = values.dropna()
    return str(held.iloc[-1]) if len(held) else None


@dataclass(frozen=True, eq=False)
class EnergyCurve:
    """Energy used since the first sample, by time; `is_known` tells of each span between two."""

    at_unix_s: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    used_j: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    is_known: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    source: str

    @property
    def total_j(self) -> float:
        """Over all samples."""
        return float(self.used_j[-1])

    def between(self, start_unix_s: float, end_unix_s: float) -> float | None:
        """What was used in that time; None where it is not known throughout."""
        if start_unix_s < self.at_unix_s[0] or end_unix_s > self.at_unix_s[-1]:
            return None
        first = int(np.searchsorted(self.at_unix_s, start_unix_s, side="right")) - 1
        last = int(np.searchsorted(self.at_unix_s, end_unix_s, side="left"))
        if not self.is_known[first:last].all():
            return None
        start_j, end_j = np.interp([start_unix_s, end_unix_s], self.at_unix_s, self.used_j)
        return float(end_j - start_j)


def energy_curve(rows: pd.DataFrame) -> EnergyCurve | None:
    """From the energy counter, else from power by the trapezoid rule; None without either."""
    if growth(rows, "energy_j") is not None:
        held = rows.dropna(subset=["energy_j"]).sort_values("at_unix_s")
        steps = held["energy_j"].diff().to_numpy(dtype="float64")[1:]
        times = held["at_unix_s"].to_numpy(dtype="float64")
        return _curve(times, np.clip(steps, 0, None), steps >= 0, "energy counter")
    held = rows.dropna(subset=["power_w"]).sort_values("at_unix_s")
    if len(held) < 2:
        return None
    times, power = held["at_unix_s"].to_numpy(), held["power_w"].to_numpy(dtype="float64")
    spans = np.diff(times)
    is_known = spans <= MAX_GAP_INTERVALS * float(np.median(spans))
    steps = np.where(is_known, spans * (power[1:] + power[:-1]) / 2, 0.0)
    return _curve(times, steps, is_known, "power over time")


def _curve(
    times: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    steps_j: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    is_known: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    source: str,
) -> EnergyCurve:
    return EnergyCurve(times, np.concatenate(([0.0], np.cumsum(steps_j))), is_known, source)
