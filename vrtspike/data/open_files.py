"""Room for the descriptors that waiting batches hold."""

import resource

_OWN = 256
"""What a training process has open beside batches: libraries, logs, queues, sockets."""
_PER_BATCH = 8
"""Tensors of a batch, each a descriptor while it waits, and what its hand-over takes."""


def make_room_for_files(workers: int, prefetch: int) -> str | None:
    """Raise this process's limit of open files where it is too low for the batches to come.

    The system sets a low limit for programs that use `select`; the administrator's, the hard one,
    is not passed.

    Args:
        workers: Loading processes of this rank.
        prefetch: Batches that each makes ahead.

    Returns:
        A line for the log if the limit was too low.
    """
    needed = _OWN + workers * (prefetch + 1) * _PER_BATCH
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return None
    allowed = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == needed:
        return f"open files: the limit of {soft} is raised to {needed}, for the batches that wait"
    return (
        f"WARNING: the process may open {allowed} files, and {needed} may be needed: raise the "
        "limit (`ulimit -n`), or lower DATALOADER.TOTAL_WORKERS or TRAIN_PREFETCH_FACTOR"
    )
