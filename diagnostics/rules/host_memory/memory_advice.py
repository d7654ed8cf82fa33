"""What frees host memory: cache, loader processes, prefetching. GPU memory is another matter."""

import shlex
from collections.abc import Iterator

from diagnostics.language import say
from diagnostics.rules.data_loading.worker_advice import worker_change
from diagnostics.rules.device_memory.memory_advice import smaller_batch
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.host_memory.cache_budget import SIGN, smaller_cache
from diagnostics.rules.launch_command import configuration_words, new_configuration
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

WHOLE = (
    "One of these changes alone may not be enough. `python diagnose_memory.py --config {config} "
    "--write-config {new}`, started where the run will run (same container, same job), forecasts "
    "all of them together and writes a configuration that fits, if any does."
)


def host_memory_advice(measured: Measurements) -> tuple[Advice, ...]:
    """The switches that take host memory, each with a smaller value than the present one."""
    candidates = [smaller_cache(measured), _fewer_workers(measured), _less_prefetch(measured)]
    if measured.device == "cpu":  # the activations are in host memory, too
        candidates.append(smaller_batch(measured, SIGN))
    advice = tuple(item for item in candidates if item is not None)
    return (*(advice or (_look_closer(measured),)), *_as_a_whole(measured))


def fewer_batches_ready(measured: Measurements) -> tuple[Advice, ...]:
    """What lets fewer finished batches wait: less prefetching, then fewer loader processes."""
    candidates = (_less_prefetch(measured), _fewer_workers(measured))
    return tuple(item for item in candidates if item is not None)


def _as_a_whole(measured: Measurements) -> tuple[Advice, ...]:
    """The forecast, where there is a configuration of ours to forecast."""
    if not measured.config or measured.is_own_loop:
        return ()
    new = new_configuration(measured.launch)
    asked = shlex.join(_ranks(measured))
    text = say(WHOLE, config=configuration_words(measured.launch, _ranks(measured)), new=new)
    return (Advice(text=text, verify=f"python diagnose_memory.py --config {new} {asked}".rstrip()),)


def _ranks(measured: Measurements) -> Iterator[str]:
    """Of the run's machines, as a forecast has to be told; one of one process is its default."""
    ranks = measured.ranks_per_machine
    machines = (measured.world_size or ranks) // max(1, ranks)
    if ranks > 1:
        yield from ("--ranks", str(ranks))
    if machines > 1:
        yield from ("--nodes", str(machines))


def _fewer_workers(measured: Measurements) -> Advice | None:
    current = measured.num_workers
    if current is None or current <= max(1, measured.world_size or 1):
        return None
    proposed = max(measured.world_size or 1, current // 2)
    return Advice(
        text=say(
            "Use {proposed} loader process(es) instead of {current}: each holds its own "
            "batches in the making.",
            proposed=proposed,
            current=current,
        ),
        config_change=worker_change(measured, proposed),
        verify=verify(say("{sign}, data_wait not longer", sign=SIGN)),
    )


def _less_prefetch(measured: Measurements) -> Advice | None:
    current = measured.loader_setting("prefetch_factor")
    if current is None or current <= 2 or not measured.num_workers:
        return None
    return Advice(
        text=say(
            "Let each loader process prepare 2 batches ahead instead of {current}.", current=current
        ),
        config_change=ConfigChange(
            key=measured.loader_key("prefetch_factor"), current=current, proposed=2
        ),
        verify=verify(say("{sign}, data_wait not longer", sign=SIGN)),
    )


def _look_closer(measured: Measurements) -> Advice:
    known = (
        "The switches that take host memory are already low."
        if measured.config or measured.loader
        else ("The input does not hold the run's configuration, so no switch is proposed.")
    )
    return Advice(
        text=say(
            "{known} `python diagnose_memory.py` shows which process holds the memory.", known=known
        ),
        verify="python diagnose_memory.py",
    )
