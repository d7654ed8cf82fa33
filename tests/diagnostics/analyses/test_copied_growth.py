"""Pages that loading processes copy: growth of the tree that no resident size shows."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from diagnostics.analyses.copied_growth import find_copied_growth
from diagnostics.analyses.host_growth import compute_host_growth
from diagnostics.rules.measure_growth import holder_name
from diagnostics.tables import PROCESSES, STEPS
from tests.diagnostics.factories import run_of

MIB = 1 << 20
Size = Callable[[float], float]
WORKERS = (2, 3)


def sweeps(
    own: Size, main: Size = lambda step: 900.0, shared: Size = lambda step: 600.0
) -> pd.DataFrame:
    """A sweep each 100 steps: `own` MiB of each loader, and `shared` by it and its parent."""
    rows = []
    noise = np.random.default_rng(0)
    for step in range(0, 4000, 100):
        for pid in (1, *WORKERS):
            uss = (main(step) if pid == 1 else own(step)) + noise.uniform(0, 4)
            pss = uss + shared(step) / 3
            row = {
                "host": "box",
                "at_unix_s": 1e9 + step,
                "pid": pid,
                "role": "main" if pid == 1 else "worker",
                "name": "python",
                "rss_bytes": 1500 * MIB,
                "shared_bytes": 100 * MIB,
                "pss_bytes": int(pss * MIB),
                "uss_bytes": int(uss * MIB),
            }
            rows.append(tuple(row.get(name) for name in PROCESSES.column_names))
    return PROCESSES.from_rows(rows)


def placed(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(at_step=table["at_unix_s"] - 1e9)


def found(table: pd.DataFrame) -> object:
    return find_copied_growth(placed(table), 48 * MIB)


def test_copied_pages_are_growth_of_the_loading_processes() -> None:
    growth = found(sweeps(lambda step: 50 + step / 20))
    assert growth is not None
    assert growth.num_processes == 2
    assert growth.trend.slope == pytest.approx(2 * MIB / 20, rel=0.1)


def test_nothing_that_settles_or_stays_is_growth() -> None:
    assert found(sweeps(lambda step: 50.0)) is None
    assert found(sweeps(lambda step: 50 + 200 * (1 - np.exp(-step / 300)))) is None


def test_growth_of_the_training_process_is_not_theirs() -> None:
    assert found(sweeps(lambda step: 50.0, main=lambda step: 900 + step / 10)) is None


def test_pages_that_only_change_hands_are_no_growth() -> None:
    """The parent lets go of what its children keep: their own memory grows, the tree's does not."""
    table = sweeps(
        lambda step: 50 + step / 20,
        main=lambda step: 900 - step / 20,
        shared=lambda step: 600 - step / 20,
    )
    assert found(table) is None


def test_without_loading_processes_or_sizes_nothing_is_said() -> None:
    table = sweeps(lambda step: 50 + step / 20)
    assert found(table[table["role"] == "main"]) is None
    assert found(table.assign(pss_bytes=np.nan)) is None


def test_it_is_told_where_no_process_grows_by_itself() -> None:
    columns = STEPS.column_names
    rows = [
        tuple({"step": n, "start_unix_s": 1e9 + n, "clock": "host"}.get(c, 0) for c in columns)
        for n in range(0, 4000, 10)
    ]
    steps = STEPS.from_rows(rows)
    run = run_of(steps=steps, processes=sweeps(lambda step: 50 + step / 20))
    (growing,) = compute_host_growth(run, ()).growing
    assert growing.holder == "copied_pages"
    assert holder_name(growing) == "the pages that 2 loader processes copied as they touched them"
