"""Are the times of a log seconds or milliseconds? Its own clock decides, where it has one."""

from dataclasses import dataclass

import pandas as pd

from diagnostics.language import say
from diagnostics.parsers.log_formats.family import PRINTED, LogFamily

TIMES = ("step_time_ms", "data_time_ms")
_NEAR = 1.5
_FAR = 30.0  # between a factor of 1 and one of 1000, on a scale of factors
_PHRASES = {"s": "seconds per iteration", "ms": "milliseconds per iteration"}
READ_AS = "{family}: times read as {unit}, because {because}"
AGREES = "{because}, and the log's own clock agrees: {wall:.4g} s per step"
BY_CLOCK = "the log's own clock counts {wall:.4g} s per step, {factor:.4g} times what they would be"


@dataclass(frozen=True, kw_only=True)
class Units:
    """What turns the times of the lines into ms, beyond what their family says; and why."""

    factor: float
    sentence: str


def units_of(family: LogFamily, lines: pd.DataFrame, wall_ms: float | None) -> Units:
    """The unit of the times that step lines state.

    Args:
        family: Of the log.
        lines: Its step lines, with times by the family's own unit.
        wall_ms: A step by time stamps or progress lines; None without any.
    """
    stated = lines["step_time_ms"].median() if "step_time_ms" in lines else float("nan")
    because, unit, factor = family.because, family.unit, 1.0
    if wall_ms and stated > 0 and family.because != PRINTED:
        ratio = wall_ms / stated
        if ratio < 1 / _FAR and unit == "s":  # they are 1000 times too large for seconds
            factor, unit = 0.001, "ms"
        elif ratio > _FAR and unit == "ms":
            factor, unit = 1000.0, "s"
        if factor != 1.0:
            because = say(BY_CLOCK, wall=wall_ms / 1000, factor=ratio)
        elif 1 / _NEAR < ratio < _NEAR:
            because = say(AGREES, because=because, wall=wall_ms / 1000)
    return Units(
        factor=factor,
        sentence=say(READ_AS, family=family.name, unit=_PHRASES[unit], because=because),
    )
