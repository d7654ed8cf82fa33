"""All analyses of one rank's trace, in one value."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from diagnostics.analyses.audit_doubt import Audit
from diagnostics.analyses.audit_trace import audit_trace
from diagnostics.analyses.step_habits import StepHabits, find_habits
from diagnostics.analyses.trace_absences import Absence, find_absences
from diagnostics.analyses.trace_backward import Backward, find_backward
from diagnostics.analyses.trace_breakdown import TraceBreakdown, break_down
from diagnostics.analyses.trace_collectives import CollectiveUse, use_of_collectives
from diagnostics.analyses.trace_copies import CopyUse, use_of_copies
from diagnostics.analyses.trace_critical_path import CriticalPath, find_critical_path
from diagnostics.analyses.trace_idle import IdleCause, find_idle_causes
from diagnostics.analyses.trace_kernels import KernelUse, use_of_kernels
from diagnostics.analyses.trace_memory import TraceMemory, find_memory
from diagnostics.analyses.trace_names import LOADER_ITERATOR
from diagnostics.analyses.trace_recompute import Recomputation, find_recomputation
from diagnostics.analyses.trace_steps import StepMark, TraceSteps, find_steps
from diagnostics.trace import Trace


@dataclass(frozen=True, kw_only=True)
class TraceAnalysis:
    """What one trace tells.

    All figures are of its steps together, or of the whole trace where it shows none (`num_steps`
    is 0). `breakdown` and `critical_path` are None, and all else empty, where it has no event.
    `absences` say what could not be evaluated, and why.
    """

    file: str
    rank: int | None
    has_device: bool
    steps: TraceSteps
    breakdown: TraceBreakdown | None
    idle_causes: tuple[IdleCause, ...]
    kernels: KernelUse | None
    copies: tuple[CopyUse, ...]
    collectives: tuple[CollectiveUse, ...]
    recomputation: Recomputation
    critical_path: CriticalPath | None
    absences: tuple[Absence, ...]
    has_stacks: bool
    habits: StepHabits | None
    audit: Audit
    loads_in_process: bool | None
    """Whether the program itself loaded the data (no workers); None where that is not seen."""
    memory: tuple[TraceMemory, ...] = ()

    @property
    def num_steps(self) -> int:
        """How many steps the trace shows."""
        return self.steps.count

    @property
    def step_mark(self) -> StepMark:
        """By what the steps were found."""
        return self.steps.mark


def analyse_trace(trace: Trace) -> TraceAnalysis:
    """Every analysis of a trace; those of what the host did run beside the others.

    Sorting and searching let go of the interpreter: a second core saves a third of the time.
    """
    steps = find_steps(trace)
    backward = find_backward(trace)
    recomputation = find_recomputation(trace, backward, steps.window)
    with ThreadPoolExecutor(1) as beside:
        host = beside.submit(_of_host, trace, steps, backward)
        return _analysed(trace, steps, backward, recomputation, host)


def _of_host(
    trace: Trace, steps: TraceSteps, backward: Backward
) -> tuple[tuple[IdleCause, ...], CriticalPath | None]:
    return find_idle_causes(trace, steps), find_critical_path(trace, steps, backward)


def _analysed(
    trace: Trace,
    steps: TraceSteps,
    backward: Backward,
    recomputation: Recomputation,
    host: "Future[tuple[tuple[IdleCause, ...], CriticalPath | None]]",
) -> TraceAnalysis:
    breakdown = break_down(trace, steps)
    kernels = use_of_kernels(trace, steps.window, backward)
    habits, audit = find_habits(trace, steps), audit_trace(trace, steps)
    idle_causes, critical_path = host.result()
    return TraceAnalysis(
        file=trace.path.name,
        rank=trace.rank,
        has_device=trace.has_device,
        steps=steps,
        breakdown=breakdown,
        idle_causes=idle_causes,
        kernels=kernels,
        copies=use_of_copies(trace, steps.window),
        collectives=use_of_collectives(trace, steps.window),
        recomputation=recomputation,
        critical_path=critical_path,
        absences=find_absences(trace, steps, recomputation),
        has_stacks=trace.has_stacks,
        habits=habits,
        audit=audit,
        loads_in_process=_loads_in_process(trace),
        memory=find_memory(trace),
    )


def _loads_in_process(trace: Trace) -> bool | None:
    """PyTorch names the fetch after the iterator's class."""
    loaders = trace.named(LOADER_ITERATOR).tolist()
    if not loaders:
        return None
    return all("_SingleProcessDataLoaderIter" in trace.names[number] for number in loaders)
