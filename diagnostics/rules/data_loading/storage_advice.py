"""What to do where making a batch waits for a disk or a network, and not for a core."""

from collections.abc import Mapping

from diagnostics.language import say
from diagnostics.rules.data_loading.loader_capacity import loader_capacity
from diagnostics.rules.data_loading.room_for_workers import wait_side_by_side, waits_mostly
from diagnostics.rules.data_loading.worker_advice import SIGN
from diagnostics.rules.finding import Advice, Gain
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

GIB, MIB = 1 << 30, 1 << 20
MOSTLY_READS = 0.5
"""Of the making: from here on where the files lie decides."""

_SIDE_BY_SIDE = (
    "More than {current} loader processes are not proposed: they wait side by side already, and "
    "one makes a batch in {made_ms:.1f} ms. If fewer of them made one in proportion faster, the "
    "storage is at its limit, and fewer do as well."
)
_SIZE = " ({size_gib:.2g} GiB of files)"
_RATE = (
    " Now the loader processes get {rate:.2f} MiB a second from where it lies, and wait for it in "
    "{share:.0%} of the time."
)
_ELSEWHERE = (
    "Have the data set{size} on a faster disk of this machine: a copy of it and DATA.ROOT, or a "
    "fast store there (`python -m vrtspike.data.fast_store`, DATA.FAST_STORE), paid once for all "
    "runs.{rate}"
)
_ELSEWHERE_OWN = (
    "Have the data set on a faster disk of this machine: copied once, it is paid for all runs."
    "{rate}"
)


def waits_for_storage(measured: Measurements) -> bool:
    """Whether the making is known to wait, and to do so while it reads."""
    reading = measured.loading_shares.get("read")
    return waits_mostly(measured) and reading is not None and reading >= MOSTLY_READS


def storage_advice(measured: Measurements, wait_ms: float, step_ms: float) -> tuple[Advice, ...]:
    """Files on a faster disk, and why no more processes are proposed where many wait already."""
    if not waits_for_storage(measured):
        return ()
    found = (_elsewhere(measured, wait_ms, step_ms), _side_by_side(measured, wait_ms, step_ms))
    return tuple(advice for advice in found if advice is not None)


def _elsewhere(measured: Measurements, wait_ms: float, step_ms: float) -> Advice | None:
    rate = measured.storage_bytes_per_s
    told = (
        ""
        if not rate
        else say(_RATE, rate=rate / MIB, share=measured.loading_shares.get("read", 0.0))
    )
    gain = Gain(low_ms=0.0, mid_ms=None, high_ms=_without_reading(measured, wait_ms, step_ms))
    data = measured.setting("DATA")
    if not isinstance(data, Mapping):
        text = say(_ELSEWHERE_OWN, rate=told)
        return Advice(text=text, predicted_gain=gain, verify=verify(SIGN))
    if data.get("FAST_STORE"):
        return None
    size = measured.data_file_bytes
    text = say(
        _ELSEWHERE,
        size="" if size is None else say(_SIZE, size_gib=size / GIB),
        rate=told,
    )
    return Advice(text=text, predicted_gain=gain, verify=verify(SIGN))


def _without_reading(measured: Measurements, wait_ms: float, step_ms: float) -> float:
    """What is gained where reading takes no time at all."""
    capacity = loader_capacity(measured, wait_ms, step_ms, measured.num_workers or 0)
    if capacity is None:
        return wait_ms
    made_ms = capacity.made_ms * (1.0 - measured.loading_shares.get("read", 0.0))
    processes = max(1, (measured.num_workers or 0) // capacity.ranks_per_machine)
    left_ms = capacity.passes * made_ms / processes
    return wait_ms - max(0.0, left_ms - (capacity.busy_ms if measured.num_workers else 0.0))


def _side_by_side(measured: Measurements, wait_ms: float, step_ms: float) -> Advice | None:
    current = measured.num_workers or 0
    capacity = loader_capacity(measured, wait_ms, step_ms, current)
    if capacity is None or capacity.needed <= current or not wait_side_by_side(measured):
        return None
    text = say(_SIDE_BY_SIDE, current=current, made_ms=capacity.made_ms)
    return Advice(text=text, verify=verify(SIGN))
