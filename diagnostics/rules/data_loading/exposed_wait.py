"""The wait for data that rules judge: what nothing hides, or all of it where that is not known."""

from diagnostics.rules.measurements import Measurements

NO_WAIT = "the wait for data was not measured"


def exposed_wait(measured: Measurements) -> tuple[float, str] | None:
    """Its ms of each step and the field that it is read from; None if it was not measured."""
    if measured.data_wait_exposed_ms is not None:
        return measured.data_wait_exposed_ms, "data_wait_exposed_ms"
    whole_ms = measured.phase_ms.get("data_wait")
    return None if whole_ms is None else (whole_ms, "phase_ms")
