"""What the loader does while the model computes: how batches are made, and whether they are ready.

Statistics use ordinary steps only, as those of the step do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from diagnostics.analyses.distribution import Distribution, distribution_of
from diagnostics.analyses.selection import select_ordinary
from diagnostics.language import say
from diagnostics.run import FACTS, Run

CLOSURE_LIMIT = 0.01
"""Parts of the making may miss its whole by this share before a report must say so."""

OTHER = "other"
MAX_READY, MAX_WORKERS = 1000, 1000
"""More is no loader, but a damaged file: counts above are one, and later processes not listed."""


@dataclass(frozen=True, kw_only=True)
class LoadingPart:
    """One part of making a batch: its mean for one sample, and its share of the making."""

    name: str
    ms_per_sample: float
    share: float


@dataclass(frozen=True, kw_only=True)
class LoadingWorker:
    """The batches of one loading process; `worker` is None for the training process itself."""

    rank: int
    worker: int | None
    num_batches: int
    made_mean_ms: float


@dataclass(frozen=True, kw_only=True)
class QueueUse:
    """How many finished batches a fetch found; `fetches_by_ready` counts fetches by that number."""

    num_fetches: int
    empty_share: float
    mean_ready: float
    median_ready: float
    fetches_by_ready: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CopyUse:
    """What a step copies to its device; `pinned_share` is of the bytes, None without any."""

    num_steps: int
    bytes_per_step: float
    pinned_share: float | None


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The loader's work. Distributions are over batches; None or empty: not recorded.

    `parts` come heaviest first, `bottleneck` is the heaviest named one. `supply_ms` is the mean
    time between two batches that the loading processes of a rank can deliver: slower than the rest
    of the step, and the step waits for it. `reasons` says what could not be known.
    """

    num_fetches: int = 0
    num_samples: int = 0
    wait: Distribution | None = None
    made: Distribution | None = None
    queued: Distribution | None = None
    parts: tuple[LoadingPart, ...] = ()
    bottleneck: str | None = None
    workers: tuple[LoadingWorker, ...] = ()
    supply_ms: float | None = None
    queue: QueueUse | None = None
    copies: CopyUse | None = None
    reasons: tuple[str, ...] = ()


def compute_loading(run: Run) -> Loading:
    """The loader's work, from the tables `fetches`, `loading` and `copies`."""
    fetches = select_ordinary(run.tables.fetches).rows
    timed = fetches[fetches["made_ms"].notna() & fetches["samples"].gt(0)]
    part_rows = select_ordinary(run.tables.loading).rows
    parts = _parts(part_rows, float(timed["samples"].sum()))
    named = [part.name for part in parts if part.name != OTHER]
    made = _distribution(timed["made_ms"])
    return Loading(
        num_fetches=len(fetches),
        num_samples=int(timed["samples"].sum()),
        wait=_distribution(fetches["wait_ms"]),
        made=made,
        queued=_distribution(fetches["queued_ms"].dropna()),
        parts=parts,
        bottleneck=named[0] if named else None,
        workers=_workers(timed),
        supply_ms=_supply_ms(made, timed),
        queue=_queue(fetches["ready"].dropna()),
        copies=_copies(select_ordinary(run.tables.copies).rows),
        reasons=tuple(_reasons(run, fetches, timed, part_rows)),
    )


def _distribution(ms: "pd.Series[Any]") -> Distribution | None:
    if not len(ms):
        return None
    return distribution_of(ms.to_numpy("float64"), np.ones(len(ms), np.int64), len(ms))


def _parts(rows: pd.DataFrame, num_samples: float) -> tuple[LoadingPart, ...]:
    spent = {
        str(name): float(ms) for name, ms in rows.groupby("name", observed=True)["ms"].sum().items()
    }
    whole_ms = sum(spent.values())
    if not num_samples or whole_ms <= 0:
        return ()
    ordered = sorted(spent.items(), key=lambda each: (-each[1], each[0]))
    return tuple(
        LoadingPart(name=name, ms_per_sample=ms / num_samples, share=ms / whole_ms)
        for name, ms in ordered
    )


def _workers(timed: pd.DataFrame) -> tuple[LoadingWorker, ...]:
    """By rank and number, whatever the order in which their batches came."""
    numbered = timed.assign(worker=timed["worker"].fillna(-1))
    found = numbered.groupby(["rank", "worker"], as_index=False).agg(
        num_batches=("made_ms", "size"), made_mean_ms=("made_ms", "mean")
    )
    return tuple(
        LoadingWorker(
            rank=int(row["rank"]),
            worker=int(row["worker"]) if row["worker"] >= 0 else None,
            num_batches=int(row["num_batches"]),
            made_mean_ms=float(row["made_mean_ms"]),
        )
        for row in found.head(MAX_WORKERS).to_dict("records")
    )


def _supply_ms(made: Distribution | None, timed: pd.DataFrame) -> float | None:
    """The mean making, shared by the loading processes of a rank (on average over the ranks)."""
    if made is None:
        return None
    processes = len(timed.drop_duplicates(["rank", "worker"]))
    return made.mean_ms * int(timed["rank"].nunique()) / processes


def _queue(ready: "pd.Series[Any]") -> QueueUse | None:
    if not len(ready):
        return None
    depths, counts = np.unique(ready.clip(upper=MAX_READY).to_numpy("int64"), return_counts=True)
    return QueueUse(
        num_fetches=len(ready),
        empty_share=float((ready == 0).mean()),
        mean_ready=float(ready.mean()),
        median_ready=float(ready.median()),
        fetches_by_ready=dict(zip(depths.tolist(), counts.tolist(), strict=True)),
    )


def _copies(rows: pd.DataFrame) -> CopyUse | None:
    if not len(rows):
        return None
    total, pinned = float(rows["bytes"].sum()), float(rows["pinned_bytes"].sum())
    return CopyUse(
        num_steps=len(rows),
        bytes_per_step=total / len(rows),
        pinned_share=pinned / total if total else None,
    )


def _reasons(
    run: Run, fetches: pd.DataFrame, timed: pd.DataFrame, part_rows: pd.DataFrame
) -> Iterator[str]:
    if not len(fetches):
        if run.evidence == FACTS:
            yield "nothing watched the loader: how its batches are made is unknown"
        return
    if not len(timed):
        yield ("the loader's batches carry no timing: what their making consists of is unknown")
        return
    if untimed := len(fetches) - len(timed):
        yield say(
            "{untimed} of {num_fetches} fetched batches carry no timing",
            untimed=untimed,
            num_fetches=len(fetches),
        )
    made_ms, parts_ms = float(timed["made_ms"].sum()), float(part_rows["ms"].sum())
    if abs(made_ms - parts_ms) > CLOSURE_LIMIT * made_ms:
        yield say(
            "the parts of loading sum to {parts_ms:.1f} of {made_ms:.1f} ms",
            parts_ms=parts_ms,
            made_ms=made_ms,
        )
