"""How an advice about the number of loader processes is worded."""

from diagnostics.language import say
from diagnostics.rules.data_loading.loader_capacity import LoaderCapacity
from diagnostics.rules.data_loading.room_for_workers import waits_mostly
from diagnostics.rules.measurements import Measurements

_MORE = (
    "Use {proposed} loader process(es) instead of {current}: {cores} core(s) (is|are) allowed, and "
    "memory has room."
)
_MORE_WAITING = (
    "Use {proposed} loader process(es) instead of {current}: making a batch computes for at most "
    "{share:.0%} of its time and waits for the rest (a disk, a network, a lock), so that cores do "
    "not limit the number, and memory has room."
)
_NEEDED_WAITING = (
    "Use {proposed} loader process(es) instead of {current}: one makes a batch in {made_ms:.1f} "
    "ms, "
    "computes for at most {share:.0%} of that and waits for the rest (a disk, a network, a lock), "
    "so that cores do not limit the number, and memory has room. Each rank wants a batch every "
    "{between_ms:.1f} ms: {needed} would keep up, if what they wait for serves so many at once. "
    "If it does not, making a batch takes longer in proportion, and nothing is gained."
)
_SIGN_WAITING = (
    "making a batch still takes about {made_ms:.0f} ms; if it takes about {longer_ms:.0f} ms, the "
    "storage is at its limit: back to {current}"
)
_NEEDED = (
    "Use {proposed} loader process(es) instead of {current}: {cores} core(s) (is|are) allowed, and "
    "memory has room. One process makes a batch in {made_ms:.1f} ms and each rank wants one every "
    "{between_ms:.1f} ms: {needed} would keep up."
)


def storage_sign(capacity: LoaderCapacity, current: int, proposed: int) -> str:
    """What tells, after the next run, whether the storage serves so many at once."""
    longer_ms = capacity.made_ms * proposed / max(1, current)
    return say(_SIGN_WAITING, made_ms=capacity.made_ms, longer_ms=longer_ms, current=current)


def worker_text(measured: Measurements, capacity: LoaderCapacity | None, proposed: int) -> str:
    """Why so many, by what was measured of the making."""
    counts = {
        "proposed": proposed,
        "current": measured.num_workers,
        "cores": measured.cpus_allowed,
        "share": measured.making_core_share,
    }
    waits = waits_mostly(measured)
    if capacity is None:
        return say(_MORE_WAITING if waits else _MORE, **counts)
    return say(
        _NEEDED_WAITING if waits else _NEEDED,
        **counts,
        made_ms=capacity.made_ms,
        between_ms=capacity.between_ms,
        needed=capacity.needed,
    )
