"""Which of a run's processes this one is, for a loop that joined them itself."""

import os
from collections.abc import Mapping
from datetime import datetime

import torch
from torch import distributed

from vrtspike.errors import RecorderUsageError
from vrtspike.profiling.recording import RankPlace
from vrtspike.profiling.run_folder import new_run_id

_LOCAL_RANK = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK")


def find_place(environ: Mapping[str, str] | None = None) -> RankPlace:
    """By `torch.distributed` where it is initialised, else by what a launcher put down."""
    env = os.environ if environ is None else environ
    if distributed.is_available() and distributed.is_initialized():
        rank, size = distributed.get_rank(), distributed.get_world_size()
    else:
        rank, size = _number(env, "RANK") or 0, _number(env, "WORLD_SIZE") or 1
    known = (number for name in _LOCAL_RANK if (number := _number(env, name)) is not None)
    # Without a launcher's word only rank 0 samples its machine.
    return RankPlace(rank=rank, local_rank=next(known, rank), world_size=size)


def speaks_to_others() -> bool:
    """Whether this process can exchange messages with other ranks."""
    ready = distributed.is_available() and distributed.is_initialized()
    return ready and distributed.get_world_size() > 1


def guess_device(place: RankPlace) -> torch.device:
    """Where a run without an observed model most likely trains."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if torch.cuda.is_initialized() or place.local_rank >= torch.cuda.device_count():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cuda", place.local_rank)


def agree_on_run_id(
    given: str | None, place: RankPlace, device: torch.device, now: datetime
) -> str:
    """One run id on every rank; all ranks come here together.

    Raises:
        RecorderUsageError: there are several ranks, and no way to tell them.
    """
    own = given or new_run_id(now)
    if place.world_size == 1 or given:
        return own
    if not (distributed.is_available() and distributed.is_initialized()):
        raise RecorderUsageError(
            f"{place.world_size} processes are announced (WORLD_SIZE), and they have to agree on "
            "the run's folder: call torch.distributed.init_process_group before the recording "
            "begins, or give every process the same record(run_id='train_<date>_<time>_<4 hex>')"
        )
    box = [own]
    on_gpu = distributed.get_backend() == "nccl"
    distributed.broadcast_object_list(box, src=0, device=device if on_gpu else None)
    return box[0]


def _number(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
