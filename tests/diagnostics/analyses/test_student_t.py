"""Student's t against published tables and its own inverse."""

import math

import pytest

from diagnostics.analyses.student_t import quantile, two_sided_p

# Any printed table of the t distribution, 97.5 % and 99.5 %.
TABLE = [
    (1, 12.706, 63.657),
    (2, 4.303, 9.925),
    (5, 2.571, 4.032),
    (10, 2.228, 3.169),
    (30, 2.042, 2.750),
    (120, 1.980, 2.617),
]


@pytest.mark.parametrize(("df", "at_975", "at_995"), TABLE)
def test_quantiles_of_the_tables(df, at_975, at_995):
    assert quantile(0.975, df) == pytest.approx(at_975, abs=6e-4)
    assert quantile(0.995, df) == pytest.approx(at_995, abs=6e-4)


@pytest.mark.parametrize("df", [1.0, 1.5, 2.7, 9.0, 55.5, 1e5])
@pytest.mark.parametrize("share", [0.6, 0.8, 0.975, 0.9999, 1 - 1e-7])
def test_the_tail_undoes_the_quantile(df, share):
    assert two_sided_p(quantile(share, df), df) == pytest.approx(2 * (1 - share), rel=1e-6)


def test_closed_form_of_two_degrees_of_freedom():
    for t in (0.1, 1.0, 4.0):
        assert two_sided_p(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_it_is_symmetric_and_becomes_the_normal_one():
    assert quantile(0.1, 7) == -quantile(0.9, 7)
    assert quantile(0.5, 7) == 0.0
    assert quantile(0.975, 1e7) == pytest.approx(1.959964, abs=1e-5)
    assert two_sided_p(0.0, 3) == pytest.approx(1.0)
    assert two_sided_p(math.inf, 3) == 0.0
