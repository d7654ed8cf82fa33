"""The recorder: writes facts about a training run, interprets nothing.

`record` is for training loops that are not ours; `docs/any-trainer.md` shows a whole one. The names
in `__all__` are the public interface: they keep their meaning within a major version. All other
modules of this package may change with any version.

Importing the package loads no PyTorch; the first use of `record` does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vrtspike.errors import RecorderUsageError
    from vrtspike.profiling.recording_session import RecordedRun, record

__all__ = ["RecordedRun", "RecorderUsageError", "record"]

_PLACES = {
    "RecordedRun": "vrtspike.profiling.recording_session",
    "RecorderUsageError": "vrtspike.errors",
    "record": "vrtspike.profiling.recording_session",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
