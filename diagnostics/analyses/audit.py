"""The audit of everything that was read: each input by itself, and one against the other. Pure."""

from collections.abc import Sequence

import numpy as np

from diagnostics.analyses.audit_doubt import Audit, Auditor
from diagnostics.analyses.audit_limits import TRACE_LIMITS
from diagnostics.analyses.audit_steps import audit_steps
from diagnostics.analyses.recorder_cost import RecorderCost
from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.run import FACTS, Run

PROFILED = "profiled"


def audit_run(run: Run, traces: Sequence[TraceAnalysis], cost: RecorderCost | None) -> Audit:
    """All doubts about a run.

    Args:
        run: As it was read.
        traces: The analyses of its traces, each with the audit of its own.
        cost: What recording it cost, if that is known.
    """
    return Audit.of(
        (audit_steps(run, cost), *(each.audit for each in traces), _across(run, traces))
    )


def _across(run: Run, traces: Sequence[TraceAnalysis]) -> Audit:
    """Traces against the facts of the run, and against each other."""
    source = traces[0].file if len(traces) == 1 else "traces"
    auditor = Auditor("trace", source, TRACE_LIMITS)
    shown = [each for each in traces if each.num_steps]
    if not shown:
        return auditor.audit()
    counts = [each.num_steps for each in shown]
    if len(counts) > 1:
        most = max(counts)
        auditor.judge("ranks_differ", 1 - min(counts) / most, fewest=min(counts), most=most)
    if run.evidence == FACTS and run.info.device.get("type") == "cuda":
        without = [each for each in shown if not each.has_device]
        auditor.judge("device_missing", float(bool(without)))
    difference = _against_facts(run, shown)
    if difference is not None:
        facts_ms, trace_ms = difference
        off = abs(trace_ms / facts_ms - 1.0)
        auditor.judge("trace_against_facts", off, facts_ms=facts_ms, trace_ms=trace_ms)
    return auditor.audit()


def _against_facts(run: Run, traces: Sequence[TraceAnalysis]) -> tuple[float, float] | None:
    """Host time of a profiled step as the facts say it and as the traces show it, in ms."""
    steps, phases = run.tables.steps, run.tables.phases
    if run.evidence != FACTS:
        return None
    is_profiled = steps["tags"].astype("object").str.split(",").map(lambda tags: PROFILED in tags)
    profiled = steps.loc[is_profiled.astype(bool), "step"]
    if run.info.profiled_steps is not None:  # tagged are also those in which the profiler warms up
        profiled = profiled[profiled.between(*run.info.profiled_steps)]
    whole = phases[
        (phases["name"] == "step") & (phases["clock"] == "host") & phases["step"].isin(profiled)
    ]
    known = [ms for each in traces if (ms := each.steps.median_host_ms) is not None]
    if not len(whole) or not known:
        return None
    facts_ms = float(whole["ms"].median())
    return (facts_ms, float(np.mean(known))) if facts_ms > 0 else None
