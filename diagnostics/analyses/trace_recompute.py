"""What the backward computes a second time: the price of activation checkpointing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagnostics.analyses.intervals import Intervals, union
from diagnostics.analyses.trace_backward import Backward
from diagnostics.analyses.trace_kernels import KernelGroup, groups
from diagnostics.analyses.trace_launches import find_launches
from diagnostics.analyses.trace_rows import chunks, overlap, rows_in
from diagnostics.trace import Trace

WhyNot = Literal["no_backward", "no_sequence_numbers", "second_derivative"]


@dataclass(frozen=True, kw_only=True)
class Recomputation:
    """Operators of the forward that ran again within the backward, in the window.

    `host_ns` is the time that threads spent in them, `kernel_ns` the sum of the kernels that they
    launched and `kernel_share` their share of all kernel time; the last three are None without a
    device. `operators` are the ones directly called, by their time on the host. All are 0 or empty
    where nothing is computed again; `why_not` says why it cannot be told, and then they are None.
    """

    why_not: WhyNot | None = None
    host_ns: int | None = None
    host_share_of_window: float | None = None
    num_kernels: int | None = None
    kernel_ns: int | None = None
    kernel_share: float | None = None
    operators: tuple[KernelGroup, ...] = ()


def find_recomputation(trace: Trace, backward: Backward, window: Intervals) -> Recomputation:
    """The recomputation in the window."""
    if not len(backward.nodes):
        return Recomputation(why_not="no_backward")
    if not backward.knows_sequence:
        return Recomputation(why_not="no_sequence_numbers")
    if backward.is_differentiable:
        return Recomputation(why_not="second_derivative")
    again = rows_in(backward.outermost_again[_by_start(backward)], window)
    host_ns = _on_threads_ns(backward, window)
    total, spent, num_kernels, num_again = 0, 0, 0, 0
    for chunk in chunks(trace.events["kernel"]):
        kernels = rows_in(chunk, window)
        lengths = kernels["end_ns"] - kernels["start_ns"]
        launches = find_launches(trace, kernels)
        is_again = backward.is_again(launches.track, launches.start_ns)
        total, spent = total + int(lengths.sum()), spent + int(lengths[is_again].sum())
        num_kernels, num_again = num_kernels + len(kernels), num_again + int(is_again.sum())
    has_device = bool(num_kernels)
    return Recomputation(
        host_ns=host_ns,
        host_share_of_window=host_ns / window.total_ns if window.total_ns else None,
        num_kernels=num_again if has_device else None,
        kernel_ns=spent if has_device else None,
        kernel_share=spent / total if total else None,
        operators=groups(trace.names, again["name"], again["end_ns"] - again["start_ns"]),
    )


def _by_start(backward: Backward) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.argsort(backward.outermost_again["start_ns"], kind="stable")


def _on_threads_ns(backward: Backward, window: Intervals) -> int:
    """Threads work side by side: the time of each counts."""
    rows = backward.outermost_again
    spent = 0
    for track in np.unique(rows["track"]).tolist():
        own = rows[rows["track"] == track]
        spent += overlap(union(own["start_ns"], own["end_ns"]), window).total_ns
    return spent
