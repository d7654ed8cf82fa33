"""The processes of one run: their ranks, their device, and what they tell each other.

Every method works alone, too: with one process it is the identity. So nothing else in the trainer
asks how many processes there are.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed

from vrtspike.errors import VRTSpikeError
from vrtspike.profiling.communication import Communication

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 600.0
"""PyTorch's own for NCCL; for gloo it waits half an hour. Longer than any checkpoint, validation
share or compilation that one rank does while the others wait."""

_NOTHING: AbstractContextManager[None] = nullcontext()


@dataclass(frozen=True)
class World:
    """This process among the processes of the run.

    `local_rank` and `local_size` count within one machine. `watch` measures what ranks exchange.
    """

    device: torch.device
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    watch: Communication | None = field(default=None, compare=False)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the log and the checkpoints."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over ranks, in place where there are several; `values` on any device."""
        if self.size == 1:
            return values
        moved = values.to(self.device)
        with self._waiting():
            distributed.all_reduce(moved)
        return moved.to(values.device)

    def share(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        with self._waiting():
            distributed.broadcast_object_list(box, src=0, device=self._object_device())
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        boxes: list[T] = [value] * self.size
        with self._waiting():
            distributed.all_gather_object(boxes, value)
        return boxes

    def leave(self) -> None:
        """End the process group."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def _waiting(self) -> AbstractContextManager[None]:
        return _NOTHING if self.watch is None else self.watch.waiting()

    def _object_device(self) -> torch.device | None:
        return self.device if self.device.type == "cuda" else None


def join_world(
    device: str,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> World:
    """Join the group that torchrun announces in the environment, or stand alone.

    Args:
        device: `cpu`, `cuda` or `auto` (a GPU where PyTorch sees one).
        environ: replaces the process's environment.
        timeout_s: how long a rank waits for the others in a collective before it gives up.

    Raises:
        VRTSpikeError: CUDA was asked for and is not there, or there are fewer GPUs than ranks.
    """
    env = os.environ if environ is None else environ
    size = int(env.get("WORLD_SIZE", "1"))
    local_rank = int(env.get("LOCAL_RANK", "0"))
    chosen = choose_device(device, local_rank)
    if size == 1:
        return World(chosen)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    distributed.init_process_group(
        "nccl" if chosen.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout_s)
    )
    return World(
        chosen,
        rank=int(env["RANK"]),
        size=size,
        local_rank=local_rank,
        local_size=int(env.get("LOCAL_WORLD_SIZE", str(size))),
    )


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of this process.

    Raises:
        VRTSpikeError: CUDA was asked for and is not there, or there are fewer GPUs than ranks.
    """
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise VRTSpikeError(
            f"--device cuda: PyTorch sees no GPU ({_why_no_gpu()}); use --device cpu or auto"
        )
    if name == "cpu" or not present:
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise VRTSpikeError(
            f"process {local_rank} of this machine has no GPU of its own: "
            f"{torch.cuda.device_count()} found; start fewer processes"
        )
    return torch.device("cuda", local_rank)


def _why_no_gpu() -> str:
    built_for = torch.version.cuda or torch.version.hip
    if built_for is None:
        return f"{torch.__version__} is a build for CPUs alone"
    return (
        f"{torch.__version__} is a build for GPUs, so there is none in this machine, or no driver "
        "that fits, or CUDA_VISIBLE_DEVICES hides it"
    )
