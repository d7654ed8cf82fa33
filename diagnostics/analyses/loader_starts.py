"""What beginning an epoch costs: starting the loader, and the wait for its first batch.

Within a step, `data_wait` holds the waits of all fetches and, where an epoch begins, the start of
the loader. What it has beyond the fetches is therefore the start.
"""

from dataclasses import dataclass

from diagnostics.run import Run

LEAST_START_MS = 0.5
"""In records that do not say where a loader started. Measured (2 cores of an AMD EPYC that others
used as well, PyTorch 2.13, 30 steps): without a start at most 0.1 ms are left over beyond the
fetches, starts of processes that persist leave 1.4 to 5.7 ms, the first start of the run 15 ms."""


@dataclass(frozen=True, kw_only=True)
class LoaderStarts:
    """Starts of the loader after the run's first one.

    `mean_ms` is a start with the wait for the first batch, `cost_ms_per_step` shares all of them
    among the run's steps. `num_steps` counts those whose fetches were watched. `is_told` says that
    the records name each start; where they do not, a start is what took so long.
    """

    num_steps: int
    count: int
    mean_ms: float | None
    longest_ms: float | None
    cost_ms_per_step: float
    is_told: bool = False


def compute_loader_starts(run: Run) -> LoaderStarts | None:
    """None where nothing watched the loader."""
    fetches, phases = run.tables.fetches, run.tables.phases
    if not len(fetches):
        return None
    key = ["rank", "step"]
    is_wait = (phases["name"] == "data_wait") & (phases["clock"] == "host")
    waits = phases[is_wait].groupby(key)["ms"].max()
    fetched = fetches.groupby(key)["wait_ms"].sum()
    is_told = bool(fetches["is_first"].notna().any())
    firsts = fetches["is_first"] == 1.0 if is_told else fetches["number"] == 0
    first = fetches[firsts].groupby(key)["wait_ms"].max()
    beyond = (waits - fetched).dropna()
    # Each rank's own first step starts the loader in any case.
    lowest = run.tables.steps.groupby("rank")["step"].min()
    ranks, steps = beyond.index.get_level_values("rank"), beyond.index.get_level_values("step")
    later = beyond[steps > lowest.reindex(ranks).to_numpy()]
    # Clocks may make a start of nothing a little less than nothing.
    began = (
        later[later.index.isin(first.index)].clip(lower=0.0)
        if is_told
        else later[later >= LEAST_START_MS]
    )
    costs = (began + first.reindex(began.index).fillna(0.0)).groupby(level="step").max()
    num_steps = int(steps.nunique())
    return LoaderStarts(
        num_steps=num_steps,
        count=len(costs),
        mean_ms=float(costs.mean()) if len(costs) else None,
        longest_ms=float(costs.max()) if len(costs) else None,
        cost_ms_per_step=float(costs.sum()) / max(1, num_steps),
        is_told=is_told,
    )
