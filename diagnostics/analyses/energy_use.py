"""What a training sample costs in energy, by the GPUs that the run's ranks used."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from diagnostics.analyses.gpu_load import GpuSummary, energy_curve, split_gpus
from diagnostics.language import listed
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class EnergyUse:
    """Energy of the GPUs during ordinary steps; the rest of the machine is not in it.

    `per_sample_j` is None where `reason` says why. `num_steps` counts steps of all ranks.
    """

    per_sample_j: float | None = None
    total_j: float | None = None
    num_samples: float | None = None
    num_steps: int = 0
    source: str | None = None
    reason: str | None = None


def compute_energy_use(run: Run, gpus: Sequence[GpuSummary]) -> EnergyUse:
    """Joules per sample over the untagged steps, each from its start to its end on the host.

    A GPU that several ranks share is counted once, in the steps of the lowest of them.
    """
    if not gpus:
        return EnergyUse(reason="no GPU was sampled")
    ranks = {(g.host, g.index, g.mig_index): g.ranks or _only_rank(run, gpus) for g in gpus}
    if not any(ranks.values()):
        return EnergyUse(reason="no rank said which GPU it used")
    steps = _ordinary_steps(run)
    found = [
        _of_gpu(rows, steps, ranks[key]) for key, rows in split_gpus(run.tables.gpus) if ranks[key]
    ]
    measured = [each for each in found if each.num_samples]
    if not measured:
        return EnergyUse(reason="its driver told neither energy nor power during the steps")
    if len(measured) < len(found):
        return EnergyUse(reason="some of the run's GPUs told neither energy nor power")
    total_j = sum(each.total_j or 0.0 for each in measured)
    num_samples = sum(each.num_samples or 0.0 for each in measured)
    return EnergyUse(
        per_sample_j=total_j / num_samples,
        total_j=total_j,
        num_samples=num_samples,
        num_steps=sum(each.num_steps for each in measured),
        source=listed(sorted({each.source or "" for each in measured})),
    )


def _only_rank(run: Run, gpus: Sequence[GpuSummary]) -> tuple[int, ...]:
    """Rank 0 where there is one rank and one GPU: nothing else can have trained on it."""
    return (0,) if len(gpus) == 1 and run.info.world_size == 1 else ()


def _ordinary_steps(run: Run) -> pd.DataFrame:
    """Rank, step, samples, start and end of every untagged step whose times are known."""
    steps, phases = run.tables.steps, run.tables.phases
    whole = phases[(phases["name"] == "step") & (phases["clock"] == "host")]
    held = steps.loc[~steps["is_tagged"], ["rank", "step", "samples", "start_unix_s"]].dropna()
    joined = held.merge(whole[["rank", "step", "ms"]], on=["rank", "step"])
    return joined.assign(end_unix_s=joined["start_unix_s"] + joined["ms"] / 1000)


def _of_gpu(rows: pd.DataFrame, steps: pd.DataFrame, ranks: tuple[int, ...]) -> EnergyUse:
    curve = energy_curve(rows)
    if curve is None:
        return EnergyUse()
    lead = steps[steps["rank"] == min(ranks)]
    used = {
        step: joules
        for step, start, end in zip(
            lead["step"], lead["start_unix_s"], lead["end_unix_s"], strict=True
        )
        if (joules := curve.between(start, end)) is not None
    }
    served = steps[steps["rank"].isin(ranks) & steps["step"].isin(used)]
    return EnergyUse(
        total_j=sum(used.values()),
        num_samples=float(served["samples"].sum()),
        num_steps=len(served),
        source=curve.source,
    )
