"""What a lower clock costs at most, and the evidence of it."""

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Evidence
from diagnostics.rules.measurements import Measurements


def cost_of_clock(measured: Measurements) -> float | None:
    """Time of a step that the highest clock seen would have saved, if all of it followed the clock.

    Waiting for data does not: it is left out. None where clock or step is not known.
    """
    mean, peak = measured.sm_clock_mean_mhz, measured.sm_clock_peak_mhz
    if mean is None or not peak or not measured.step_ms:
        return None
    works_ms = measured.step_ms - (measured.data_wait_exposed_ms or 0.0)
    return max(0.0, works_ms) * max(0.0, 1 - mean / peak)


def clock_evidence(measured: Measurements) -> tuple[Evidence, ...]:
    """Mean and highest clock, power against its limit."""
    source = measured.source("throttle_share")
    return (
        row("mean clock, MHz", measured.sm_clock_mean_mhz, "", measured.sm_clock_peak_mhz, source),
        row("mean power / power limit", measured.gpu_power_share, "share", None, source),
    )
