"""What to change so that batches arrive sooner; every value rests on the present one."""

from diagnostics.language import say
from diagnostics.rules.data_loading.loading_evidence import heaviest_part
from diagnostics.rules.data_loading.part_advice import part_advice
from diagnostics.rules.data_loading.worker_advice import SIGN, has_memory_to_spare, more_workers
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

PREFETCH_FACTOR = 4
"""The prefetch factor of the performance guide's plans."""


def loader_advice(measured: Measurements, wait_ms: float, step_ms: float) -> tuple[Advice, ...]:
    """The switches that make data arrive sooner, the most promising first."""
    candidates = (
        more_workers(measured, wait_ms, step_ms),
        *part_advice(measured, wait_ms, step_ms),
        _pinned(measured),
        _persistent(measured),
        _prefetch(measured),
    )
    advice = tuple(item for item in candidates if item is not None)
    return advice or (_look_closer(measured),)


def _pinned(measured: Measurements) -> Advice | None:
    if measured.device != "cuda" or measured.loader_setting("pin_memory") != 0:
        return None
    return Advice(
        text="Pin the batches in memory, so that copies to the GPU overlap with its work.",
        config_change=_switch_on(measured, "pin_memory"),
        verify=verify("h2d shorter"),
    )


def _persistent(measured: Measurements) -> Advice | None:
    if not measured.num_workers or measured.loader_setting("persistent_workers") != 0:
        return None
    return Advice(
        text="Keep the loader processes between epochs instead of starting them again.",
        config_change=_switch_on(measured, "persistent_workers"),
        verify=verify("no long wait at the first step of an epoch"),
    )


def _switch_on(measured: Measurements, argument: str) -> ConfigChange:
    return ConfigChange(key=measured.loader_key(argument), current=False, proposed=True)


def _prefetch(measured: Measurements) -> Advice | None:
    current = measured.loader_setting("prefetch_factor")
    if current is None or current >= PREFETCH_FACTOR or not measured.num_workers:
        return None
    if not has_memory_to_spare(measured):
        return None
    return Advice(
        text=say(
            "Let each loader process prepare {batches} batches ahead instead of "
            "{current}; this evens out slow batches, it does not make loading faster.",
            batches=PREFETCH_FACTOR,
            current=current,
        ),
        config_change=ConfigChange(
            key=measured.loader_key("prefetch_factor"), current=current, proposed=PREFETCH_FACTOR
        ),
        verify=verify("p95 of data_wait closer to its median"),
    )


def _look_closer(measured: Measurements) -> Advice:
    if measured.is_own_loop and not measured.loader:
        text = (
            "The loader's settings are unknown, so none is proposed: hand the DataLoader itself to "
            "`run.wrap`."
        )
    elif measured.num_workers == 0 and not measured.config and not measured.is_own_loop:
        text = (
            "The program loads its data itself, between the steps: give its DataLoader worker "
            "processes (num_workers above 0). How many, cores and memory decide, which this input "
            "does not tell."
        )
    elif not measured.config and not measured.is_own_loop:
        text = (
            "The input does not hold the run's configuration, so no switch is proposed; give the "
            "facts folder (profiles/<run_id>)."
        )
    elif None in (measured.num_workers, measured.cpus_allowed, measured.host_memory_share):
        text = (
            "Loader processes, cores or memory of the run are unknown, so no switch is proposed; "
            "record resources."
        )
    else:
        text = say(
            "The loader's switches are already set as this machine allows. Look at what "
            "a batch costs: {costs}.",
            costs=_costs(measured),
        )
    return Advice(text=text, verify=verify(SIGN))


def _costs(measured: Measurements) -> str:
    heaviest = heaviest_part(measured)
    if heaviest is None:
        return "decoding, cropping, voxels, or a slow disk"
    return say(
        "{part} takes {share:.0%} of making it",
        part=heaviest[0],
        share=heaviest[1],
    )
