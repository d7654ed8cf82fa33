"""The mean of the gradients over ranks, as DDP itself computes it, in a hook one can watch."""

from torch import Tensor, distributed
from torch.distributed import GradBucket, ProcessGroup  # type: ignore[attr-defined]
from torch.futures import Future


def average_gradients(group: ProcessGroup | None, bucket: GradBucket) -> Future[Tensor]:
    """Starts the all-reduce of a bucket's mean; the default group where `group` is None.

    Without a hook DDP multiplies by 1 / size while it fills the bucket, and then sums. The same
    product here gives the same bits; a division would not, for three ranks.
    """
    buffer = bucket.buffer()
    buffer.mul_(1.0 / distributed.get_world_size(group))
    work = distributed.all_reduce(buffer, group=group, async_op=True)
    averaged: Future[Tensor] = work.get_future().then(lambda summed: summed.value()[0])
    return averaged
