"""Switches that take one part out of the making of a batch, the heaviest part first."""

from collections.abc import Mapping

from diagnostics.rules.data_loading.larger_cache import larger_cache_advice
from diagnostics.rules.data_loading.ram_cache_advice import ram_cache_advice
from diagnostics.rules.data_loading.worker_advice import SIGN
from diagnostics.rules.finding import Advice, ConfigChange, Gain
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

LEAST_SHARE = 0.10
"""A part below this share of the making is not worth a switch: its removal gains at most that."""


def part_advice(measured: Measurements, wait_ms: float, step_ms: float) -> tuple[Advice, ...]:
    """What removes voxelising, and what removes reading and decoding; not for small parts."""
    candidates = (
        (_share(measured, "voxelise"), _precomputed_voxels),
        (_share(measured, "read", "decode"), _no_decoding),
    )
    # Where nothing is known the written order stays.
    ordered = sorted(candidates, key=lambda each: -(each[0] or 0.0))
    worth = [(share, give) for share, give in ordered if share is None or share >= LEAST_SHARE]
    found = [give(measured, _gain(measured, share, wait_ms, step_ms)) for share, give in worth]
    return tuple(advice for advice in found if advice is not None)


def _share(measured: Measurements, *parts: str) -> float | None:
    """The parts' share of making a batch; None where it was not recorded."""
    if not measured.loading_shares:
        return None
    return sum(measured.loading_shares.get(name, 0.0) for name in parts)


def _gain(measured: Measurements, share: float | None, wait_ms: float, step_ms: float) -> Gain:
    """At most the part's own time.

    A loader that the step waits for delivers a batch in `step_ms`, without the part in
    `(1 - share) * step_ms`. Without loading processes a batch is made in `wait_ms`.
    """
    high_ms = wait_ms
    if share is not None and measured.num_workers is not None:
        high_ms = min(wait_ms, share * (step_ms if measured.num_workers else wait_ms))
    return Gain(low_ms=0.0, mid_ms=None, high_ms=high_ms)


def _precomputed_voxels(measured: Measurements, gain: Gain) -> Advice | None:
    if measured.setting("DATA.USE_PRECOMPUTED_VOXELS") is not False:
        return None
    return Advice(
        text="Compute the voxels once, with `python -m vrtspike.data.prepare`, instead of in every "
        "step.",
        config_change=ConfigChange(key="DATA.USE_PRECOMPUTED_VOXELS", current=False, proposed=True),
        predicted_gain=gain,
        verify=verify(SIGN),
    )


def _no_decoding(measured: Measurements, gain: Gain) -> Advice | None:
    """In memory where there is room for it, else on a disk."""
    in_memory = ram_cache_advice(measured, gain) or larger_cache_advice(measured)
    return in_memory or _fast_store(measured, gain)


def _fast_store(measured: Measurements, gain: Gain) -> Advice | None:
    data, decoding = measured.setting("DATA"), _share(measured, "decode")
    is_unset = isinstance(data, Mapping) and data.get("FAST_STORE", "") is None
    if not is_unset or decoding is None or decoding < LEAST_SHARE:
        return None
    return Advice(
        text="Decode the pictures once, with `python -m vrtspike.data.fast_store` (any folder on a "
        "local disk with room), instead of in every epoch: crops are then read from mapped memory.",
        config_change=ConfigChange(key="DATA.FAST_STORE", current=None, proposed="data/fast_store"),
        predicted_gain=gain,
        verify=verify(SIGN),
    )
