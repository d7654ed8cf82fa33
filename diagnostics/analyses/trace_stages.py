"""Which part of the program the work of the device came from: stage, module, pass.

A stage is the innermost named range of the program around the launch. Kernels of the backward are
launched by autograd's own thread, outside of the ranges: their node leads to the operator of the
forward that it belongs to, and that one's stage is theirs.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from diagnostics.analyses.intervals import Array
from diagnostics.analyses.trace_backward import Backward
from diagnostics.analyses.trace_launches import UNKNOWN, Launches, enclosing
from diagnostics.analyses.trace_rows import chosen
from diagnostics.trace import Events, Trace

Phase = Literal["direct", "backward", "recompute"]
PHASES: tuple[Phase, ...] = get_args(Phase)

_NO_STAGE = re.compile(r"^ProfilerStep#|^Iteration Start|^PyTorch Profiler")
_MODULE = re.compile(r"^nn\.Module: ")


@dataclass(frozen=True, eq=False)
class Origin:
    """Numbers of the names of each launch's range and module, -1 without; its place in `PHASES`."""

    span: Array
    module: Array
    phase: Array


@dataclass(frozen=True, eq=False)
class Ranges:
    """The ranges of the program that are stages, and the modules that ran."""

    stages: Events
    modules: Events


def find_ranges(trace: Trace) -> Ranges:
    """The stages and modules of a trace."""
    spans = trace.events["span"]
    spans = spans[~np.isin(spans["name"], trace.named(_NO_STAGE))]
    return Ranges(spans, chosen(trace.events["python"], trace.named(_MODULE)))


def find_origins(ranges: Ranges, backward: Backward, launches: Launches) -> Origin:
    """Where each launch came from."""
    node = backward.node_of(launches.track, launches.start_ns)
    led = backward.forward_of(node)
    forward = backward.forward
    # Of the forward's operator where that is known: the range around the whole backward says less.
    track = np.where(led >= 0, np.append(forward["track"], UNKNOWN)[led], launches.track)
    at_ns = np.where(led >= 0, np.append(forward["start_ns"], UNKNOWN)[led], launches.start_ns)
    phase = np.where(node >= 0, PHASES.index("backward"), PHASES.index("direct"))
    phase[backward.is_again(launches.track, launches.start_ns)] = PHASES.index("recompute")
    return Origin(
        span=_first_known(ranges.stages, (track, launches.track), (at_ns, launches.start_ns)),
        module=_first_known(ranges.modules, (track, launches.track), (at_ns, launches.start_ns)),
        phase=phase,
    )


def _first_known(spans: Events, tracks: tuple[Array, Array], times: tuple[Array, Array]) -> Array:
    found = enclosing(spans, tracks[0], times[0])
    return np.where(found >= 0, found, enclosing(spans, tracks[1], times[1]))
