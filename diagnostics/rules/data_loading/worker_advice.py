"""How many loader processes to use: only where the present number, cores and memory are known."""

from diagnostics.rules.data_loading.loader_capacity import loader_capacity
from diagnostics.rules.data_loading.room_for_workers import (
    most_workers,
    wait_side_by_side,
    waits_mostly,
)
from diagnostics.rules.data_loading.worker_words import storage_sign, worker_text
from diagnostics.rules.finding import Advice, ConfigChange, Gain
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

MAX_MEMORY_SHARE = 0.80
"""Above this use of host memory nothing is proposed that needs more of it."""

SIGN = "data_wait below 5 % of the step"


def has_memory_to_spare(measured: Measurements) -> bool:
    """Whether host memory is known to have room; unknown is no."""
    share = measured.host_memory_share
    return share is not None and share < MAX_MEMORY_SHARE


def more_workers(measured: Measurements, wait_ms: float, step_ms: float) -> Advice | None:
    """More loader processes, if the guide's rules allow more than there are, and more are needed.

    How many, the making of a batch says where it was timed; else as many as the machine allows.
    """
    current, cores = measured.num_workers, measured.cpus_allowed
    if current is None or cores is None or not has_memory_to_spare(measured):
        return None
    proposed = most_workers(measured, cores)
    capacity = loader_capacity(measured, wait_ms, step_ms, proposed)
    waits = waits_mostly(measured)
    if wait_side_by_side(measured):
        return None
    if capacity is not None:
        proposed = min(proposed, capacity.needed)
    change = worker_change(measured, proposed)
    if proposed <= current or change.proposed == change.current:
        return None
    if capacity is None:
        gain = gain_of_more_workers(wait_ms, step_ms, current, proposed)
    else:
        gain = capacity.gain(proposed)
    if waits:  # Whether a disk or a server serves more at once, no run with fewer can tell.
        gain = Gain(low_ms=0.0, mid_ms=None, high_ms=gain.high_ms)
    text = worker_text(measured, capacity, proposed)
    sign = storage_sign(capacity, current, proposed) if waits and capacity else SIGN
    return Advice(text=text, config_change=change, predicted_gain=gain, verify=verify(sign))


def worker_change(measured: Measurements, proposed: int) -> ConfigChange:
    """`proposed` loader processes on a machine, as the switch that sets them counts them.

    Ours counts those of the machine, a DataLoader those of its own process.
    """
    if measured.is_own_loop:
        proposed = max(1, proposed // measured.ranks_per_machine)
    return ConfigChange(
        key=measured.loader_key("num_workers"),
        current=worker_setting(measured),
        proposed=proposed,
    )


def worker_setting(measured: Measurements) -> int | str | None:
    """TOTAL_WORKERS as the configuration says it, such as "auto"; else the number that ran."""
    if measured.is_own_loop:
        return measured.loader_setting("num_workers")
    setting = measured.setting("DATALOADER.TOTAL_WORKERS")
    return "auto" if setting == "auto" else measured.num_workers


def gain_of_more_workers(wait_ms: float, step_ms: float, current: int, proposed: int) -> Gain:
    """What more workers save if the loading scales with them; nothing, if a disk is the limit.

    A loader that the step waits for delivers a batch in `step_ms` with `current` workers, so in
    `step_ms * current / proposed` with more. Without workers the batch is made in `wait_ms`.
    """
    busy_ms = step_ms - wait_ms
    batch_ms = (step_ms * current if current else wait_ms) / proposed
    return Gain(low_ms=0.0, mid_ms=wait_ms - max(0.0, batch_ms - busy_ms), high_ms=wait_ms)
