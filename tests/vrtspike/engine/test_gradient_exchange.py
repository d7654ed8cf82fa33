"""Watching the exchange of gradients changes no bit of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def compare(*variants: str) -> None:
    launcher = [sys.executable, str(HERE / "forked_ranks.py"), "3", str(HERE / "exchange_bits.py")]
    done = subprocess.run(
        [*launcher, *variants],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[2]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("same") == 3 * len(variants)


def test_gradients_are_those_of_ddp_alone_also_where_a_mean_is_no_power_of_two():
    compare("plain", "accumulation", "buckets", "static_graph")


@pytest.mark.slow
def test_compiled_stages_exchange_the_same():
    compare("compiled")
