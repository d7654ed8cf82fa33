"""Which build of PyTorch is installed, without importing it."""

from importlib.util import find_spec
from pathlib import Path

_GPU_LIBRARIES = ("libtorch_cuda.so", "libtorch_hip.so")


def is_built_for_gpus() -> bool:
    """Whether PyTorch's libraries for GPUs lie here; False where there is no PyTorch, too."""
    try:
        found = find_spec("torch")
    except ValueError:  # a stand-in without a place of its own
        return False
    folders = [] if found is None else found.submodule_search_locations or []
    return any(
        (Path(folder) / "lib" / library).exists()
        for folder in folders
        for library in _GPU_LIBRARIES
    )
