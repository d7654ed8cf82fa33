"""Which GPUs CUDA shows to a process, by the rules of `CUDA_VISIBLE_DEVICES`; needs no CUDA.

Rules: CUDA C++ Programming Guide, "CUDA Environment Variables". Unset shows all. A list is read
from the left and ends at the first entry that is no GPU, -1 and an empty one included; an entry is
a number, a UUID (`GPU-...`, `MIG-...`) or the beginning of one that only one GPU has. A GPU that is
named twice makes the whole list void. Of a divided GPU that is named whole, CUDA shows the first
instance.
"""

from collections.abc import Sequence

from vrtspike.profiling.nvml_gpus import GpuIdentity


def visible_uuids(
    value: str | None, gpus: Sequence[GpuIdentity], order: str | None = None
) -> tuple[str, ...] | None:
    """UUIDs in the order of CUDA's own numbers.

    Args:
        value: `CUDA_VISIBLE_DEVICES`; None where it is not set.
        gpus: What NVML lists, which is in the order of the PCI bus.
        order: `CUDA_DEVICE_ORDER`.

    Returns:
        None where numbers mean another order than the bus's, which NVML cannot tell: fastest first
        with GPUs of several kinds.
    """
    whole = [gpu for gpu in gpus if gpu.mig_index is None]
    alike = len({gpu.name for gpu in whole}) <= 1
    by_number = whole if order == "PCI_BUS_ID" or alike else None
    if value is None:
        return None if by_number is None else _uuids(by_number, gpus)
    found: list[GpuIdentity] = []
    for entry in value.split(","):
        text = entry.strip()
        if _is_number(text) and by_number is None:
            return None
        gpu = _named(text, by_number or [], gpus)
        if gpu is None:
            break
        if gpu in found:
            return ()
        found.append(gpu)
    return _uuids(found, gpus)


def _named(
    text: str, by_number: Sequence[GpuIdentity], gpus: Sequence[GpuIdentity]
) -> GpuIdentity | None:
    if _is_number(text):
        return by_number[int(text)] if int(text) < len(by_number) else None
    if not text.startswith(("GPU-", "MIG-")) or text in ("GPU-", "MIG-"):
        return None
    matching = [gpu for gpu in gpus if (gpu.uuid or "").lower().startswith(text.lower())]
    return matching[0] if len(matching) == 1 else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _uuids(named: Sequence[GpuIdentity], gpus: Sequence[GpuIdentity]) -> tuple[str, ...] | None:
    instances = {gpu.index: gpu for gpu in reversed(gpus) if gpu.mig_index is not None}
    shown = [gpu if gpu.mig_index is not None else instances.get(gpu.index, gpu) for gpu in named]
    known = [gpu.uuid for gpu in shown if gpu.uuid is not None]
    return tuple(known) if len(known) == len(shown) else None
