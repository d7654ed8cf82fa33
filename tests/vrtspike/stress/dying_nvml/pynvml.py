"""NVML with two GPUs that support nothing, and then, after some calls, an end.

`DYING_NVML` is "<calls> <how>": lost (every call fails from then on), hang or crash.
"""

import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _real():
    for folder in sys.path:
        found = Path(folder or ".") / "pynvml.py"
        if found.is_file() and found.resolve().parent != _HERE:
            spec = importlib.util.spec_from_file_location("real_pynvml", found)
            module = importlib.util.module_from_spec(spec)
            sys.modules["real_pynvml"] = module  # it looks itself up there
            spec.loader.exec_module(module)
            return module
    raise ImportError("pynvml is not installed")


_nvml = _real()
_left, _how = os.environ.get("DYING_NVML", "1000000 lost").split()
_calls_left = [int(_left)]


def _count_down() -> None:
    _calls_left[0] -= 1
    if _calls_left[0] > 0:
        return
    if _how == "hang":
        time.sleep(600)
    if _how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    raise _nvml.NVMLError(_nvml.NVML_ERROR_GPU_IS_LOST)


def nvmlInit() -> None:
    pass


def nvmlShutdown() -> None:
    _count_down()


def nvmlDeviceGetCount() -> int:
    return 2


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    _count_down()
    return index


def __getattr__(name: str):
    value = getattr(_nvml, name)
    if not name.startswith("nvml"):
        return value

    def refuse(*arguments: object):
        _count_down()
        raise _nvml.NVMLError(_nvml.NVML_ERROR_NOT_SUPPORTED)

    return refuse
