"""What to change so that batches arrive sooner; every value rests on the present one."""

from diagnostics.language import say
from diagnostics.rules.data_loading.first_pass import first_pass_advice
from diagnostics.rules.data_loading.loader_capacity import loader_capacity
from diagnostics.rules.data_loading.loading_evidence import heaviest_part
from diagnostics.rules.data_loading.making_advice import making_advice
from diagnostics.rules.data_loading.part_advice import part_advice
from diagnostics.rules.data_loading.storage_advice import storage_advice, waits_for_storage
from diagnostics.rules.data_loading.worker_advice import SIGN, has_memory_to_spare, more_workers
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

PREFETCH_FACTOR = 4
"""The prefetch factor of the performance guide's plans."""


def loader_advice(measured: Measurements, wait_ms: float, step_ms: float) -> tuple[Advice, ...]:
    """What makes data arrive sooner; then the switches that only spare single waits."""
    more = more_workers(measured, wait_ms, step_ms)
    parts = part_advice(measured, wait_ms, step_ms)
    if waits_for_storage(measured):  # What need not be read again is certain, the rest is not.
        faster = (*parts, more, *storage_advice(measured, wait_ms, step_ms))
    else:
        faster = (more, making_advice(measured, wait_ms, step_ms), *parts)
    candidates = (
        first_pass_advice(measured),
        *([each for each in faster if each is not None] or [_look_closer(measured)]),
        _pinned(measured),
        _persistent_if_unknown(measured),
        _prefetch(measured, wait_ms, step_ms),
    )
    return tuple(item for item in candidates if item is not None)


def _pinned(measured: Measurements) -> Advice | None:
    if measured.device != "cuda" or measured.loader_setting("pin_memory") != 0:
        return None
    return Advice(
        text="Pin the batches in memory, so that copies to the GPU overlap with its work.",
        config_change=_switch_on(measured, "pin_memory"),
        verify=verify("h2d shorter"),
    )


def _persistent_if_unknown(measured: Measurements) -> Advice | None:
    """Where starts of the loader were measured, rule DL004 speaks of them."""
    return None if measured.loader_start_cost_ms is not None else persistent_workers(measured)


def persistent_workers(measured: Measurements) -> Advice | None:
    """Keep loader processes between epochs, where they are known to end with each."""
    if not measured.num_workers or measured.loader_setting("persistent_workers") != 0:
        return None
    return Advice(
        text="Keep the loader processes between epochs instead of starting them again.",
        config_change=_switch_on(measured, "persistent_workers"),
        verify=verify("no long wait at the first step of an epoch"),
    )


def _switch_on(measured: Measurements, argument: str) -> ConfigChange:
    return ConfigChange(key=measured.loader_key(argument), current=False, proposed=True)


def _prefetch(measured: Measurements, wait_ms: float, step_ms: float) -> Advice | None:
    """Only where batches come fast enough on average, as far as that is known."""
    processes = measured.num_workers or 0
    capacity = loader_capacity(measured, wait_ms, step_ms, processes)
    if capacity is not None and capacity.needed > processes:
        return None
    current = measured.loader_setting("prefetch_factor")
    if current is None or current >= PREFETCH_FACTOR or not measured.num_workers:
        return None
    if not has_memory_to_spare(measured):
        return None
    return Advice(
        text=say(
            "Let each loader process prepare {batches} batch(es) ahead instead of "
            "{current}; this evens out slow batches, it does not make loading faster.",
            batches=PREFETCH_FACTOR,
            current=current,
        ),
        config_change=ConfigChange(
            key=measured.loader_key("prefetch_factor"), current=current, proposed=PREFETCH_FACTOR
        ),
        verify=verify("p95 of data_wait closer to its median"),
    )


_UNKNOWN_LOADER = (
    "The loader's settings are unknown, so none is proposed: hand the DataLoader itself to "
    "`run.wrap`."
)
_LOADS_ITSELF = (
    "The program loads its data itself, between the steps: give its DataLoader worker processes "
    "(num_workers above 0). How many, cores and memory decide, which this input does not tell."
)
_NO_CONFIG = (
    "The input does not hold the run's configuration, so no switch is proposed; give the facts "
    "folder (profiles/<run_id>)."
)
_NO_MACHINE = (
    "Loader processes, cores or memory of the run are unknown, so no switch is proposed; record "
    "resources."
)
_FASTER_ITEMS = (
    "There are as many loader processes as this machine allows: speed up the data set's "
    "`__getitem__`. Look at what a batch costs: {costs}."
)
_COSTS = "{part} takes {share:.0%} of making it"
_ANY_COSTS = "decoding, cropping, voxels, or a slow disk"


def _look_closer(measured: Measurements) -> Advice:
    is_ours_or_known = bool(measured.config) or measured.is_own_loop
    if measured.is_own_loop and not measured.loader:
        text = _UNKNOWN_LOADER
    elif measured.num_workers == 0 and not is_ours_or_known:
        text = _LOADS_ITSELF
    elif not is_ours_or_known:
        text = _NO_CONFIG
    elif None in (measured.num_workers, measured.cpus_allowed, measured.host_memory_share):
        text = _NO_MACHINE
    else:
        heaviest = heaviest_part(measured)
        costs = say(_COSTS, part=heaviest[0], share=heaviest[1]) if heaviest else _ANY_COSTS
        text = say(_FASTER_ITEMS, costs=costs)
    return Advice(text=text, verify=verify(SIGN))
