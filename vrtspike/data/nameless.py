"""Tensors in memory that processes share and that has no name: no end of any process can leak it.

PyTorch makes a file in /dev/shm and removes its name at once; a process that is killed in between
leaves the file until the machine restarts. A nameless file is the system's to free. It does not
count against the size of /dev/shm either.
"""

import errno
import math
import mmap
import os
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

_MAKE = getattr(torch.UntypedStorage, "_new_shared_fd_cpu", None)
"""What PyTorch itself makes of a descriptor that another process has sent."""


def shared_zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Zeros that processes started from this one see and may change."""
    try:
        made = _nameless(shape, dtype)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        # A limit for the size of files (ulimit -f) holds for this memory too, but not for pages
        # that are only inherited.
        pages = mmap.mmap(-1, dtype.itemsize * math.prod(shape))
        return torch.frombuffer(pages, dtype=dtype).view(tuple(shape))
    return torch.zeros(shape, dtype=dtype).share_memory_() if made is None else made


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Tensors of one type and shape, one above the other; ready to be handed over in a worker."""
    if get_worker_info() is not None:
        out = _nameless((len(values), *values[0].shape), values[0].dtype)
        if out is not None:
            return torch.stack(list(values), out=out)
    if len(values) == 1:  # nothing to put together, so nothing to copy
        return values[0][None]
    return torch.stack(list(values))


def _nameless(shape: Sequence[int], dtype: torch.dtype) -> Tensor | None:
    """Memory that reads as zeros; None where the system or this PyTorch has no such thing.

    Raises:
        OSError: there is none left, or no descriptor.
    """
    size = dtype.itemsize
    for side in shape:
        size *= side
    if _MAKE is None or not size or not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create("vrtspike-batch", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        storage: torch.UntypedStorage = _MAKE(descriptor, size)
    finally:
        os.close(descriptor)
    return torch.empty(0, dtype=dtype).set_(storage).view(tuple(shape))
