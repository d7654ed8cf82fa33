"""What making a batch must become, where more loading processes are no way out."""

from diagnostics.language import say
from diagnostics.rules.data_loading.loader_capacity import LoaderCapacity, loader_capacity
from diagnostics.rules.data_loading.loading_evidence import heaviest_part
from diagnostics.rules.data_loading.room_for_workers import most_workers
from diagnostics.rules.data_loading.worker_advice import SIGN
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

_FASTER = (
    "Speed up the data set's `__getitem__`: with {processes} loader process(es) a batch may take "
    "{target_ms:.1f} ms to make, and takes {made_ms:.1f} ({factor:.1f} times too long; {needed} "
    "process(es) would keep up at that speed).{heaviest}"
)
_ENOUGH = (
    "{processes} loader process(es) (makes|make) batches fast enough on average ({made_ms:.1f} ms "
    "each, "
    "{between_ms:.1f} ms between two fetches of a rank): the wait comes from batches that take "
    "much longer (p95 {p95_ms:.1f} ms), from starts of the loader, or from a machine that is "
    "busy otherwise.{heaviest}"
)
_HEAVIEST = " The heaviest part of the making is {part}, {share:.0%} of it."


def making_advice(measured: Measurements, wait_ms: float, step_ms: float) -> Advice | None:
    """How much faster batches must be made; None where it was not timed or more processes do."""
    current, cores = measured.num_workers, measured.cpus_allowed
    if current is None:
        return None
    most = current if cores is None else most_workers(measured, cores)
    processes = max(1, current, most)
    found = loader_capacity(measured, wait_ms, step_ms, processes)
    if found is None:
        return None
    if found.needed <= current:
        return Advice(text=_enough(measured, found, current), verify=verify(SIGN))
    if found.needed <= most:
        return None
    target_ms = found.target_ms(processes)
    text = say(
        _FASTER,
        processes=processes,
        target_ms=target_ms,
        made_ms=found.made_ms,
        factor=found.made_ms / target_ms,
        needed=found.needed,
        heaviest=_heaviest(measured),
    )
    return Advice(text=text, verify=verify(SIGN))


def _enough(measured: Measurements, found: LoaderCapacity, processes: int) -> str:
    return say(
        _ENOUGH,
        processes=processes,
        made_ms=found.made_ms,
        between_ms=found.between_ms,
        p95_ms=found.made_p95_ms,
        heaviest=_heaviest(measured),
    )


def _heaviest(measured: Measurements) -> str:
    heaviest = heaviest_part(measured)
    return "" if heaviest is None else say(_HEAVIEST, part=heaviest[0], share=heaviest[1])
