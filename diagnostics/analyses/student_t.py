"""Student's t distribution, for intervals from few values: tail probability and quantile.

Source: NIST Digital Library of Mathematical Functions, 8.17 (the regularised incomplete beta
function and its continued fraction 8.17.22, here evaluated by Lentz's method), and
P(|T| > t) = I_x(df / 2, 1 / 2) with x = df / (df + t^2).
"""

import math
from statistics import NormalDist

_TINY = 1e-300
_MAX_TERMS = 500
_PRECISION = 1e-14
_MAX_STEPS = 60


def two_sided_p(t: float, df: float) -> float:
    """The chance of a value at least as far from 0 as `t`, with `df` degrees of freedom.

    `df` is positive and need not be whole.
    """
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(df / (df + t * t), df / 2, 0.5)


def quantile(share: float, df: float) -> float:
    """The value below which that share of the distribution lies; `share` in (0, 1).

    Newton's method on the logarithm of the tail, which is nearly straight, from Hill's first terms.
    """
    if share < 0.5:
        return -quantile(1 - share, df)
    if share == 0.5:
        return 0.0
    wanted = math.log(2 * (1 - share))
    normal = NormalDist().inv_cdf(share)
    value = normal + (normal**3 + normal) / (4 * df)
    for _ in range(_MAX_STEPS):
        tail = two_sided_p(value, df)
        step = (math.log(tail) - wanted) * tail / (2 * _density(value, df))
        value = max(value + step, value / 8)
        if abs(step) <= _PRECISION * 100 * value:
            break
    return value


def _density(t: float, df: float) -> float:
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df))


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b); by the symmetry I_x(a, b) = 1 - I_(1-x)(b, a) where that converges faster."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    front = math.exp(log_front)
    if x < (a + 1) / (a + b + 2):
        return front * _continued_fraction(x, a, b) / a
    return 1 - front * _continued_fraction(1 - x, b, a) / b


def _continued_fraction(x: float, a: float, b: float) -> float:
    numerator, denominator = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = denominator
    for place in range(1, _MAX_TERMS):
        before = value
        for factor in _factors(x, a, b, place):
            denominator = 1 / _away_from_zero(1 + factor * denominator)
            numerator = _away_from_zero(1 + factor / numerator)
            value *= denominator * numerator
        if abs(value - before) <= _PRECISION * abs(value):
            break
    return value


def _factors(x: float, a: float, b: float, place: int) -> tuple[float, float]:
    """The two partial numerators of DLMF 8.17.23 with this place."""
    even = place * (b - place) * x / ((a + 2 * place - 1) * (a + 2 * place))
    odd = -(a + place) * (a + b + place) * x / ((a + 2 * place) * (a + 2 * place + 1))
    return even, odd


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
