"""One line of evidence: a measured value beside the limit it was held against."""

from diagnostics.rules.finding import Evidence, Value
from diagnostics.rules.rule import Threshold


def row(
    metric: str,
    value: Value,
    unit: str,
    limit: Threshold | float | None = None,
    source: str | None = None,
) -> Evidence:
    """The evidence; units as `Evidence` lists them."""
    bound = limit.value if isinstance(limit, Threshold) else limit
    return Evidence(metric=metric, value=value, unit=unit, limit=bound, source=source)
