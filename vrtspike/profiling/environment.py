"""What a run ran on: versions and device, for `meta.json`."""

import platform
from importlib import metadata

import torch


def versions() -> dict[str, str | None]:
    """Versions of what the speed depends on; None where it is absent."""
    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": None if cudnn is None else str(cudnn),
        "numpy": _package("numpy"),
        "vrtspike": _package("vrt-spike"),
    }


def describe_device(device: torch.device) -> dict[str, str | int | None]:
    """Kind, name and size of the device a rank trains on."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return {
            "type": "cuda",
            "name": found.name,
            "index": torch.cuda.current_device() if device.index is None else device.index,
            "count": torch.cuda.device_count(),
            "memory_total_bytes": found.total_memory,
            "compute_capability": f"{found.major}.{found.minor}",
        }
    return {
        "type": device.type,
        "name": _cpu_name(),
        "count": 1,
        "threads": torch.get_num_threads(),
    }


def _package(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str | None:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            named = (line.partition(":")[2].strip() for line in lines if "model name" in line)
            return next(named, None)
    except OSError:
        return platform.processor() or None
