"""Weighted quantiles are those of the repeated values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics.analyses.distribution import distribution_of, weighted_quantile

PAIRS = st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 5)), min_size=1, max_size=20)


@settings(max_examples=80, deadline=None)
@given(pairs=PAIRS, share=st.sampled_from([0.0, 0.25, 0.5, 0.95, 1.0]))
def test_weights_repeat_values(pairs, share):
    values = np.array([value for value, _ in pairs])
    weights = np.array([weight for _, weight in pairs])
    expected = np.quantile(np.repeat(values, weights), share)
    assert weighted_quantile(values, weights, share) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_p95_interpolates_linearly():
    found = distribution_of(np.arange(1.0, 21.0), np.ones(20, dtype="int64"), 20)
    assert (found.mean_ms, found.median_ms) == (10.5, 10.5)
    assert found.p95_ms == pytest.approx(19.05)
