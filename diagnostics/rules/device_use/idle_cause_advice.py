"""Where to begin with an idle device: at the cause of most of it, as far as the trace names one."""

from collections.abc import Mapping

from diagnostics.language import say
from diagnostics.rules.device_use.allocator_calls_in_step import KEEP
from diagnostics.rules.device_use.copies_not_hidden import PREFETCH
from diagnostics.rules.device_use.garbage_collection_pauses import FREEZE
from diagnostics.rules.device_use.launch_bound import FEWER
from diagnostics.rules.device_use.python_between_launches import MOVE, STACKS
from diagnostics.rules.device_use.synchronisation_in_step import LATER
from diagnostics.rules.finding import Advice
from diagnostics.rules.kernels.kernels_too_short import FUSE
from diagnostics.rules.trace_measurements import TraceMeasurements
from diagnostics.rules.trace_rule import advise

IDLE_METRICS = {
    "data_loading": "idle while the program waits for data",
    "synchronisation": "idle while the program waits for the device",
    "copy": "idle while the program copies",
    "allocator": "idle while the program asks for memory",
    "garbage_collection": "idle while Python collects garbage",
    "profiler": "idle because of the profiler",
    "launching": "idle while the program runs operators",
    "python": "idle while the program runs Python",
    "queued": "idle between kernels that were ready",
    "unattributed": "idle, and the trace does not say why",
}
_LOADING = (
    "Let batches come sooner: loader processes that work ahead (num_workers), and a cheaper "
    "`__getitem__`."
)
_PROFILER = (
    "The profiler itself holds the program up: without it the device is idle for less. Record "
    "without shapes and memory, or compare the step with one that is not profiled."
)
_UNKNOWN = (
    "Record what the program does as well (activities CPU and CUDA, `with_stack=True`): this trace "
    "does not show it, so that nothing more can be said."
)
_TO_DO: Mapping[str, str] = {
    "data_loading": _LOADING,
    "synchronisation": LATER,
    "copy": PREFETCH,
    "allocator": KEEP,
    "garbage_collection": FREEZE,
    "profiler": _PROFILER,
    "launching": FEWER,
    "python": MOVE,
    "queued": FUSE,
    "unattributed": _UNKNOWN,
}
_BEGIN = "Begin with what costs most ({cause}, {ms:.1f} ms of each step{place}). {to_do}"
SIGN = "the device is idle for less of the step"


def causes_of_idleness(trace: TraceMeasurements) -> list[tuple[str, float]]:
    """What the device waited for and ms of each step, heaviest first."""
    known = [(cause, ms) for cause, ms in trace.idle_ms.items() if cause in IDLE_METRICS]
    return sorted(known, key=lambda each: -each[1])


def idle_advice(trace: TraceMeasurements, idle_ms: float) -> Advice:
    """What the heaviest cause asks for; what to record where the trace does not name it."""
    cause, ms = next(iter(causes_of_idleness(trace)), ("unattributed", idle_ms))
    where = trace.idle_where.get(cause)
    text = say(
        _BEGIN,
        cause=IDLE_METRICS[cause],
        ms=ms,
        place=say(", most of it in {where}", where=where) if where else "",
        to_do=STACKS if cause == "python" and not trace.has_stacks else _TO_DO[cause],
    )
    return advise(text, SIGN, idle_ms)
