"""Costs of the layers the network is made of: parameters, FLOPs, bytes kept for the backward pass.

A multiply-add counts as two FLOPs; element-wise work, norms, softmax and sampling count as none.
What autograd keeps was read off the layers' own code: a value that two layers keep counts once.
Needs no PyTorch.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Cost of a part of the network for one forward pass of one batch.

    `saved_bytes` is what autograd keeps from the forward for the backward pass. `peak_bytes` is
    the largest transient beside it, at one moment of the backward pass: for a checkpointed part
    what its recomputation brings back.
    """

    parameters: int = 0
    flops: int = 0
    saved_bytes: int = 0
    peak_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            parameters=self.parameters + other.parameters,
            flops=self.flops + other.flops,
            saved_bytes=self.saved_bytes + other.saved_bytes,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
        )

    def times(self, count: int) -> "Cost":
        """`count` of these, one after the other."""
        return Cost(
            parameters=self.parameters * count,
            flops=self.flops * count,
            saved_bytes=self.saved_bytes * count,
            peak_bytes=self.peak_bytes if count else 0,
        )

    def recomputed(self, input_bytes: int) -> "Cost":
        """The same under activation checkpointing: only the input is kept."""
        return Cost(
            parameters=self.parameters,
            flops=self.flops,
            saved_bytes=input_bytes,
            peak_bytes=self.saved_bytes + self.peak_bytes,
        )


def total(costs: Iterable[Cost]) -> Cost:
    """The sum; transients do not add up, since they do not happen at the same time."""
    result = Cost()
    for cost in costs:
        result += cost
    return result


def linear(rows: int, inner: int, outer: int, bias: bool = True) -> Cost:
    """A matrix product of `rows` vectors; what it keeps is added by its caller."""
    weights = inner * outer
    return Cost(parameters=weights + (outer if bias else 0), flops=2 * rows * weights)


def convolution(positions: int, inner: int, outer: int, taps: int) -> Cost:
    """A convolution with bias at `positions` output places; `taps` is the kernel's volume."""
    weights = inner * outer * taps
    return Cost(parameters=weights + outer, flops=2 * positions * weights)


def layer_norm(rows: int, channels: int) -> Cost:
    """Layer norm; it keeps a mean and a deviation of every row beside its input."""
    return Cost(parameters=2 * channels, saved_bytes=2 * rows * FLOAT_BYTES)


def kept(values: int, width_bytes: int = FLOAT_BYTES) -> Cost:
    """Values that the backward pass needs."""
    return Cost(saved_bytes=values * width_bytes)
