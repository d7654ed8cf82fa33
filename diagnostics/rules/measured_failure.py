"""What rules look at of an allocation that failed on a GPU, part of `Measurements`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class FailureFields:
    """The first failure, by its own message; None: none failed, or it does not say."""

    failure_cause: (
        Literal[
            "larger_than_gpu", "not_granted", "fragmented", "scattered", "others", "size", "unknown"
        ]
        | None
    ) = None
    failed_bytes: float | None = None
    """What was asked for."""
    failed_free_bytes: float | None = None
    failed_unallocated_bytes: float | None = None
    """Reserved by PyTorch and held by no tensor."""
    failed_other_bytes: float | None = None
    """Held by other processes on the same GPU."""
    failed_tensor_share: float | None = None
    """Of the whole GPU, what this process's tensors held."""
    failed_stage: str | None = None
