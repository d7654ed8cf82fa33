"""Whether an epoch has something for every rank, in one place for trainer and forecast."""

from vrtspike.counted import counted
from vrtspike.errors import DataError

NO_BATCH = (
    "an epoch has no batch: there are fewer training samples than TRAIN.BATCH_SIZE times processes "
    "(DATALOADER.DROP_LAST leaves incomplete batches out)"
)


def samples_of_each_rank(samples: int, world_size: int) -> int:
    """All ranks get equally many.

    Raises:
        DataError: there are fewer samples than ranks.
    """
    if samples < world_size:
        have = counted(samples, "training sample")
        raise DataError(f"{have} cannot be shared by {counted(world_size, 'rank')}")
    return samples // world_size


def batches_of_each_rank(
    samples: int, world_size: int, batch_size: int, *, drops_last: bool
) -> int:
    """Batches of an epoch.

    Raises:
        DataError: there is none.
    """
    each = samples_of_each_rank(samples, world_size)
    batches = each // batch_size if drops_last else -(-each // batch_size)
    if not batches:
        raise DataError(NO_BATCH)
    return batches
