"""Memory on a GPU that is not this run's: what the driver counts, less what the ranks reserve."""

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostics.analyses.gpu_load import GpuSummary
from diagnostics.analyses.memory_course import MemoryCourse
from diagnostics.language import say


@dataclass(frozen=True, kw_only=True)
class GpuSharing:
    """One GPU of the run, in bytes: the driver's median, and the most that its ranks reserved.

    `other_bytes` holds what the ranks use beside PyTorch's allocator, too: each has a context and
    libraries of its own, a few hundred MiB.
    """

    host: str
    index: int
    used_bytes: float
    reserved_bytes: float

    @property
    def other_bytes(self) -> float:
        """What the ranks' allocators do not account for."""
        return max(0.0, self.used_bytes - self.reserved_bytes)


def compute_gpu_sharing(
    gpus: Sequence[GpuSummary], courses: Sequence[MemoryCourse]
) -> tuple[GpuSharing, ...]:
    """Each GPU whose ranks are known and recorded what they reserve; instances (MIG) left out."""
    reserved = {each.owner: each.peak_bytes for each in courses if each.name == "device reserved"}
    found = []
    for gpu in gpus:
        owners = [say("rank {rank}", rank=rank) for rank in gpu.ranks]
        if not owners and len(gpus) == 1 and len(reserved) == 1:
            owners = list(reserved)
        used = gpu.memory_used_bytes.median
        if gpu.mig_index is not None or used is None or not owners:
            continue
        if all(owner in reserved for owner in owners):
            found.append(
                GpuSharing(
                    host=gpu.host,
                    index=gpu.index,
                    used_bytes=used,
                    reserved_bytes=sum(reserved[owner] for owner in owners),
                )
            )
    return tuple(found)
