"""The backward pass in a trace: its nodes, the forward behind each, and what it computes again.

Autograd runs each node inside `autograd::engine::evaluate_function: ...Backward`. PyTorch numbers
what can be differentiated: an operator of the forward and the node that it leaves carry the same
sequence number. An operator inside a node carries one only where gradients are recorded anew. That
is what activation checkpointing does when it runs the forward a second time, and what a second
derivative (`create_graph=True`) does throughout; the latter is told by its backward operators.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diagnostics.analyses.intervals import Array, distinct
from diagnostics.analyses.trace_launches import UNKNOWN
from diagnostics.analyses.trace_rows import chosen, chunks, has_name, outermost
from diagnostics.trace import OP_DTYPE, Events, Trace

_NODE = re.compile(r"^autograd::engine::evaluate_function: |^\w+Backward\w*$")
_OF_AUTOGRAD = re.compile(r"^autograd::|^torch::autograd::|Backward\d*$|^torch::jit::")
_BACKWARD_OPERATOR = re.compile(r"^aten::\w*_backward\w*$")


@dataclass(frozen=True, eq=False)
class Backward:
    """What a trace shows of the backward pass.

    `nodes` are the outermost ones; `forward` has the last operator outside of nodes that led to
    them, one for each sequence number of a node, in order of it; `again` the operators inside of
    nodes that carry a number. `knows_sequence` says whether the trace numbers its operators at all,
    `is_differentiable` that the backward itself recorded gradients, so that `again` may be
    something else than recomputation.
    """

    nodes: Events
    forward: Events
    again: Events
    knows_sequence: bool
    is_differentiable: bool

    def node_of(self, track: Array, at_ns: Array) -> Array:
        """The place in `nodes` of the one that runs on a track at a time; -1 where none does."""
        return _around(self.nodes, track, at_ns)

    def forward_of(self, nodes: Array) -> Array:
        """The place in `forward` of the last operator that led to each node; -1 unknown."""
        wanted = np.append(self.nodes["sequence"], UNKNOWN)[nodes]
        ids = np.append(self.forward["sequence"], UNKNOWN)
        place = np.searchsorted(ids[:-1], wanted)
        return np.where((ids[place] == wanted) & (wanted >= 0), place, UNKNOWN)

    def is_again(self, track: Array, at_ns: Array) -> Array:
        """Whether each track computed something of the forward again at a time."""
        if self.is_differentiable:
            return np.zeros(len(track), bool)
        is_again: Array = _around(self.outermost_again, track, at_ns) >= 0
        return is_again

    @cached_property
    def outermost_again(self) -> Events:
        """Those of `again` that no other one has called, by track and start."""
        return outermost(self.again)


def find_backward(trace: Trace) -> Backward:
    """The backward pass; all of it is empty where the trace shows none."""
    ops = trace.events["op"]
    nodes = outermost(chosen(ops, trace.named(_NODE)))
    is_autograd = trace.named(_OF_AUTOGRAD)
    wanted = distinct(nodes["sequence"][nodes["sequence"] >= 0])
    forward, is_led = np.zeros(len(wanted), _FORWARD), np.zeros(len(wanted), bool)
    again, num_numbered = [ops[:0]], 0
    for chunk in chunks(ops):
        rows = chunk[chunk["sequence"] >= 0]
        rows = rows[~has_name(rows, is_autograd)]
        inside = _around(nodes, rows["track"], rows["start_ns"]) >= 0
        again.append(rows[inside])
        num_numbered += len(rows)
        place, rows = _in_order(wanted, rows[~inside])
        is_led[place] = True
        for column in _FORWARD.names or ():
            forward[column][place] = rows[column]
    computed_again = np.concatenate(again)
    is_differentiable = has_name(computed_again, trace.named(_BACKWARD_OPERATOR)).any()
    return Backward(
        nodes=nodes,
        forward=forward[is_led],
        again=computed_again,
        knows_sequence=bool(num_numbered),
        is_differentiable=bool(is_differentiable),
    )


_FORWARD = np.dtype([(name, OP_DTYPE[name].str) for name in ("start_ns", "track", "sequence")])


def _in_order(wanted: Array, rows: Events) -> tuple[Array, Events]:
    """The last row of each wanted number, and the number's place."""
    place = np.searchsorted(wanted, rows["sequence"])
    fits = np.append(wanted, UNKNOWN)[place] == rows["sequence"]
    place, rows = place[fits], rows[fits]
    last = np.full(len(wanted), UNKNOWN)
    last[place] = np.arange(len(place))  # of equal places the last one stays
    known = np.flatnonzero(last >= 0)
    return known, rows[last[known]]


def _around(spans: Events, track: Array, at_ns: Array) -> Array:
    """The place of the span around each time; spans of a track are disjoint and in order."""
    found = np.full(len(at_ns), UNKNOWN)
    for number in np.intersect1d(spans["track"], track).tolist():
        first, last = np.searchsorted(spans["track"], [number, number + 1])
        asked = np.flatnonzero(track == number)
        place = np.searchsorted(spans["start_ns"][first:last], at_ns[asked], side="right") - 1
        inside = (place >= 0) & (at_ns[asked] < spans["end_ns"][first:last][np.maximum(place, 0)])
        found[asked] = np.where(inside, place + first, UNKNOWN)
    return found
