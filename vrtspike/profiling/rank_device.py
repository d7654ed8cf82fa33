"""Says which GPU a rank trains on, so that the machine's samples can be laid to it."""

import os
from collections.abc import Mapping

import torch

from vrtspike.profiling.nvml_gpus import Gpus
from vrtspike.profiling.parts import PartHost, RecorderPart
from vrtspike.profiling.visible_devices import visible_uuids


class RankDevice(RecorderPart):
    """Writes an event `rank_device` with the UUID of the rank's GPU; nothing on a CPU.

    Args:
        device: Where the rank trains.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self, host: PartHost) -> None:
        """Asks CUDA, and where it does not tell, reads `CUDA_VISIBLE_DEVICES` as it does."""
        if self._device.type != "cuda":
            return
        index = self._device.index
        index = torch.cuda.current_device() if index is None else index
        uuid, source = cuda_uuid(index), "CUDA"
        if uuid is None:
            uuid, source = uuid_by_environment(index, os.environ), "CUDA_VISIBLE_DEVICES"
        host.event("rank_device", index=index, uuid=uuid, source=source if uuid else None)


def cuda_uuid(index: int) -> str | None:
    """The UUID as CUDA tells it, without `GPU-` or `MIG-`; None where this PyTorch does not."""
    uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
    return None if uuid is None else str(uuid)


def uuid_by_environment(
    index: int, environment: Mapping[str, str], gpus: Gpus | None = None
) -> str | None:
    """The UUID of CUDA's device of that number by the rules of `CUDA_VISIBLE_DEVICES`."""
    listed = gpus or Gpus()
    visible = visible_uuids(
        environment.get("CUDA_VISIBLE_DEVICES"),
        listed.identities,
        environment.get("CUDA_DEVICE_ORDER"),
    )
    listed.close()
    return visible[index] if visible is not None and index < len(visible) else None
