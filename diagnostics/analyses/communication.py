"""What the exchange of gradients costs: how long it was under way, and how much of that showed."""

from dataclasses import dataclass

from diagnostics.analyses.selection import select_ordinary
from diagnostics.run import Clock, Run

_MEANS = ["ms", "exposed_ms", "launch_ms", "wait_ms", "num_bytes", "num_buckets", "num_exchanges"]


@dataclass(frozen=True, kw_only=True)
class CommunicationUse:
    """Means over steps and ranks, times in ms by `clock`.

    `ms` is the time in which an exchange was under way, `hidden_ms` of it during the backward and
    `exposed_ms` after the last gradient was there. `least_exposed_ms` is that of the rank that
    waited least, the last to arrive: nearly all of it is the transfer itself, not waiting for a
    late rank. `share` and `exposed_share` are of the step by the same clock. `exchanges` counts the
    backward passes of a step that ended in an exchange, of `micro_batches`.
    """

    clock: Clock
    num_steps: int
    ms: float
    exposed_ms: float
    hidden_ms: float
    least_exposed_ms: float
    launch_ms: float
    wait_ms: float
    num_bytes: float
    buckets: float
    exchanges: float
    micro_batches: float | None
    share: float | None
    exposed_share: float | None


def compute_communication(run: Run) -> CommunicationUse | None:
    """None where no rank recorded an exchange."""
    rows = select_ordinary(run.tables.communication).rows
    if not len(rows):
        return None
    clock: Clock = "device" if "device" in set(rows["clock"]) else "host"
    rows = rows[rows["clock"] == clock]
    means = rows[_MEANS].mean()
    phases = run.tables.phases
    wanted = (phases["clock"] == clock) & (phases["name"] == "step")
    wholes = rows[["rank", "step"]].merge(phases[wanted], on=["rank", "step"])["ms"]
    step_ms = float(wholes.mean()) if len(wholes) else None
    counted = run.tables.steps.merge(rows[["rank", "step"]], on=["rank", "step"])["micro_batches"]
    return CommunicationUse(
        clock=clock,
        num_steps=int(rows["step"].nunique()),
        ms=float(means["ms"]),
        exposed_ms=float(means["exposed_ms"]),
        hidden_ms=float(means["ms"] - means["exposed_ms"]),
        least_exposed_ms=float(rows.groupby("step")["exposed_ms"].min().mean()),
        launch_ms=float(means["launch_ms"]),
        wait_ms=float(means["wait_ms"]),
        num_bytes=float(means["num_bytes"]),
        buckets=float(means["num_buckets"]),
        exchanges=float(means["num_exchanges"]),
        micro_batches=float(counted.mean()) if counted.notna().any() else None,
        share=float(means["ms"]) / step_ms if step_ms else None,
        exposed_share=float(means["exposed_ms"]) / step_ms if step_ms else None,
    )
