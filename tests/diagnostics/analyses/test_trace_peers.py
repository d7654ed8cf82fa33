"""The decompositions against Holistic Trace Analysis 0.5.0, over its own window.

It measures from the first to the last kernel that a step launched, and leaves the last step out:
`docs/traces.md` says why ours does not. Over its window both must be equal. It also rounds the
times of traces in ns to whole us, every event inwards, which makes each gap between two kernels
some 1 us longer: with its rounding ours says the same.
"""

import gzip
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagnostics.analyses.trace_breakdown import break_down
from diagnostics.analyses.trace_steps import TraceSteps, find_steps
from diagnostics.parsers.trace_file import parse_trace
from diagnostics.trace import DEVICE_KINDS, Events, Trace

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")
pytestmark = pytest.mark.skipif(
    REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA names no folder of reference traces"
)
TRACES = (
    "resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz",
    "resnet50_num_workers_4/worker0.1623212756351.pt.trace.json.gz",
    "two_ranks/sampled_rank-0.json.gz",
    "two_ranks/sampled_rank-1.json.gz",
    "nccl/nccl_data.json.gz",
    "ns_resolution/rank-0.Apr_03_18_51_38.1102.pt.trace.json.gz",
)


def their_window(trace: Trace, steps: TraceSteps) -> tuple[Trace, TraceSteps]:
    """All steps but the last as one, from the first to the last work that they launched."""
    first, last = int(steps.start_ns[0]), int(steps.start_ns[-1])
    events = dict(trace.events)
    for kind in DEVICE_KINDS:
        work = events[kind]
        launched = (work["launch_ns"] >= first) & (work["launch_ns"] < last)
        events[kind] = rounded_inwards(trace, work[launched & (work["launch_track"] >= 0)])
    start = min(int(events[kind]["start_ns"][0]) for kind in DEVICE_KINDS if len(events[kind]))
    end = max(int(events[kind]["end_ns"].max()) for kind in DEVICE_KINDS if len(events[kind]))
    times = {"start_ns": start, "begin_ns": start, "host_end_ns": end, "end_ns": end, "numbers": 1}
    whole = replace(steps, **{name: np.array([value]) for name, value in times.items()})
    return replace(trace, events=events), whole


def rounded_inwards(trace: Trace, work: Events) -> Events:
    """Begins up and ends down to whole us of the trace's own clock, in its floating point."""
    rows = work.copy()
    stated = re.search(rb'"baseTimeNanoseconds": *(\d+)', gzip.decompress(trace.path.read_bytes()))
    origin = trace.origin_ns - (int(stated[1]) if stated else 0)
    start_ns = work["start_ns"] + origin
    start_us = start_ns // 1000 + (start_ns % 1000) / 1000
    end_us = start_us + (work["end_ns"] - work["start_ns"]) / 1000
    rows["start_ns"] = np.ceil(start_us).astype(np.int64) * 1000 - origin
    rows["end_ns"] = np.floor(end_us).astype(np.int64) * 1000 - origin
    rows["end_ns"] = np.maximum(rows["end_ns"], rows["start_ns"])
    return rows


@pytest.mark.parametrize("name", TRACES)
def test_idle_compute_and_the_rest_are_theirs_over_their_window(name: str) -> None:
    text = Path(REFERENCE or "", "traces", "reference.json").read_text()
    theirs = json.loads(text)["holistic_trace_analysis_0.5.0_last_step_dropped"][name]
    trace = parse_trace(Path(REFERENCE or "", "traces", name))
    found = break_down(*their_window(trace, find_steps(trace)))

    assert found is not None
    us = found.window_ns / 1000
    rest = (found.communication_exposed_share or 0) + (found.copy_exposed_share or 0)
    assert (found.idle_share or 0) * us == pytest.approx(theirs["idle_us"], rel=0.005)
    assert (found.compute_share or 0) * us == pytest.approx(theirs["compute_us"], rel=0.005)
    assert rest * us == pytest.approx(theirs["non_compute_us"], rel=0.005)
    if "overlap_pct" in theirs:
        whole = found.communication_share or 0
        hidden = 100 * (whole - (found.communication_exposed_share or 0)) / whole
        assert hidden == pytest.approx(theirs["overlap_pct"], rel=0.005)
