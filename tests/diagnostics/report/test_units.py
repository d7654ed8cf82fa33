"""How figures are written."""

import pytest

from diagnostics.report import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.00"),
        (12.3456, "12.35"),
        (0.1, "0.10"),
        (0.0365, "0.0365"),
        (0.0013692, "0.00137"),
        (-0.00021, "-0.000210"),
        (1e-12, "0.000000000"),
    ],
)
def test_a_slow_rate_keeps_digits_that_tell_something(value, text):
    assert units.rate(value) == text
