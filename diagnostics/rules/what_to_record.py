"""What to record so that a rule can look: never what was given already, nor by another's switches.

Rules ask for what they miss in the words of this trainer; what was read decides how that is asked.
"""

from dataclasses import replace

from diagnostics.rules.device_memory.device_memory_near_limit_in_trace import (
    RECORD_MEMORY,
    RECORD_MEMORY_ANYWHERE,
)
from diagnostics.rules.finding import NotEvaluated
from diagnostics.rules.framework_advice import SWITCHES_BESIDE, with_switches
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import (
    RECORD_FACTS,
    RECORD_LOADER,
    RECORD_MACHINE,
    RECORD_MORE_STEPS,
    RECORD_NVML,
)
from diagnostics.rules.trace_rule import RECORD_TRACE

RECORD_ITS_LOOP = (
    "record the loop with `vrtspike.profiling.record` (docs/any-trainer.md), and give its facts "
    "folder"
)
RECORD_AGAIN = "the facts that were given do not hold it: record again with this version"
SYSTEM_SILENT = (
    "the sampler was on: record again with this version; where that is no help, the system does "
    "not tell it"
)
TRACE_WITH_STEPS = (
    "record a trace whose steps are marked: `prof.step()` of torch.profiler after each of them"
)
ANY_TRACE = "record a trace of some steps with torch.profiler, and give it"

_OF_LOGS = frozenset({"TR004", "TR005"})
"""They compare statements of a log with each other: facts have no need of them."""

_ASKS_FOR_FACTS = frozenset({RECORD_FACTS, RECORD_MACHINE, RECORD_LOADER, RECORD_MORE_STEPS})
_ASKS_FOR_TRACE = frozenset({RECORD_TRACE, RECORD_MEMORY})


def asked_rightly(answer: NotEvaluated, measured: Measurements) -> NotEvaluated:
    """The answer, asking for something that was not given yet and that this program can do."""
    asked = answer.record_next
    if asked is None:
        return answer
    return replace(answer, record_next=_what(answer.rule, asked, measured))


def _what(rule: str, asked: str, measured: Measurements) -> str | None:
    if asked in _ASKS_FOR_TRACE:
        return _trace(asked, measured)
    if measured.is_trainer_unknown:
        is_ours = asked in _ASKS_FOR_FACTS or asked == RECORD_NVML
        return RECORD_ITS_LOOP if is_ours else asked
    if not measured.has_facts:
        return RECORD_FACTS if asked in _ASKS_FOR_FACTS else asked
    if asked == RECORD_FACTS:
        return None if rule in _OF_LOGS else RECORD_AGAIN
    if asked == RECORD_MACHINE and measured.is_machine_sampled:
        return SYSTEM_SILENT
    return RECORD_AGAIN if asked == RECORD_LOADER and not measured.is_own_loop else asked


def _trace(asked: str, measured: Measurements) -> str:
    """In the words of who trained; one that was given and has no step lacks its marks."""
    if asked == RECORD_TRACE and measured.has_trace:
        return TRACE_WITH_STEPS
    if not measured.is_trainer_unknown:
        return asked
    if asked == RECORD_MEMORY:
        return RECORD_MEMORY_ANYWHERE
    if measured.framework is None:
        return ANY_TRACE
    return with_switches(ANY_TRACE, measured.framework, "trace", SWITCHES_BESIDE)
