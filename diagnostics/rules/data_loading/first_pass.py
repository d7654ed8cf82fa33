"""A wait for data that belongs to a run's first pass over it, and ends with that."""

from diagnostics.language import say
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

_WAIT = (
    "So far each frame is read for the first time: what the cache keeps of the first epoch's "
    "{steps} steps answers the epochs after it. Judge again once the second one has begun."
)


def is_over_with_first_pass(measured: Measurements, least_share: float) -> bool:
    """Whether steps wait for less than `least_share` of their time since the first pass ended."""
    later_ms, step_ms = measured.later_wait_ms, measured.later_step_ms
    return later_ms is not None and bool(step_ms) and later_ms < least_share * (step_ms or 0.0)


def first_pass_advice(measured: Measurements) -> Advice | None:
    """To wait and see, where a cache still fills in a run that has further epochs before it."""
    steps, planned = measured.first_pass_steps, measured.steps_planned
    is_first = measured.setting("DATA.USE_RAM_CACHE") is True and measured.later_wait_ms is None
    if not is_first or steps is None or planned is None or planned <= steps:
        return None
    return Advice(text=say(_WAIT, steps=steps), verify=verify("data_wait below 5 % of the step"))
