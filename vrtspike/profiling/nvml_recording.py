"""Writes down every answer of NVML, so that a GPU's behaviour can be replayed where there is none.

    python -m vrtspike.profiling.nvml_recording --out FILE [--samples N]

The file maps each call, as in `nvmlDeviceGetPowerUsage(gpu0)`, to its answers in order: plain
values, `{"handle": name}`, `{"fields": {...}}` of a structure, `{"error": code}`; the metrics of
`gpm(gpu0)` are `{"metrics": {id: value or {"error": code}}}`. The last answer holds from then on.
UUIDs and names are those of the machine. No PyTorch is needed.
"""

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pynvml

from vrtspike.profiling.jsonl_writer import replace_file
from vrtspike.profiling.nvml_fields import Nvml
from vrtspike.profiling.nvml_gpus import Gpus

_HANDLES = {
    "nvmlDeviceGetHandleByIndex": "gpu{}",
    "nvmlDeviceGetMigDeviceHandleByIndex": "{}/mig{}",
}
_SAMPLE_CALLS = ("nvmlGpmSampleGet", "nvmlGpmMigSampleGet")
_NOT_WRITTEN = ("nvmlGpmSampleAlloc", "nvmlGpmSampleFree")


class NvmlRecording:
    """Stands in for pynvml and remembers what it answered.

    Args:
        nvml: The pynvml module, or a stand-in for it.
    """

    def __init__(self, nvml: Nvml = pynvml) -> None:
        self._nvml = nvml
        self._names: list[tuple[Any, str]] = []
        self._sampled = ""
        self.answers: dict[str, list[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        held = getattr(self._nvml, name)
        is_call = name.startswith("nvml") and callable(held)
        return self._recorded(name, held) if is_call and name not in _NOT_WRITTEN else held

    def _recorded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*arguments: Any) -> Any:
            if name == "nvmlGpmMetricsGet":
                return self._metrics(call, *arguments)
            if name in _SAMPLE_CALLS:
                arguments_written = arguments[:-1]
                self._sampled = ",".join(map(self._name, arguments_written))
            else:
                arguments_written = arguments
            key = f"{name}({','.join(map(self._name, arguments_written))})"
            try:
                answer = call(*arguments)
            except pynvml.NVMLError as error:
                self._write(key, {"error": error.value})
                raise
            self._write(key, self._plain(name, arguments_written, answer))
            return answer

        return recorded

    def _metrics(self, call: Callable[..., Any], query: Any) -> Any:
        call(query)
        held = query.metrics[: query.numMetrics]
        values = {
            str(each.metricId): {"error": each.nvmlReturn} if each.nvmlReturn else each.value
            for each in held
        }
        self._write(f"gpm({self._sampled})", {"metrics": values})
        return query

    def _write(self, key: str, answer: Any) -> None:
        self.answers.setdefault(key, []).append(answer)

    def _plain(self, name: str, arguments: Sequence[Any], answer: Any) -> Any:
        if name in _HANDLES:
            handle = _HANDLES[name].format(*map(self._name, arguments))
            self._names.append((answer, handle))
            return {"handle": handle}
        if name in _SAMPLE_CALLS:
            return None
        if isinstance(answer, bytes):
            return answer.decode("utf-8", "replace")
        if answer is None or isinstance(answer, int | float | str | list | tuple):
            return answer
        return {"fields": _fields(answer)}

    def _name(self, argument: Any) -> str:
        # By identity: NVML's handles are pointers, of which equal ones need not compare equal.
        named = (name for handle, name in reversed(self._names) if handle is argument)
        return next(named, str(argument))


def _fields(answer: Any) -> dict[str, Any]:
    if isinstance(answer, ctypes.Structure):
        held = {field[0]: getattr(answer, field[0]) for field in answer._fields_}
    else:
        held = vars(answer)
    return {name: value for name, value in held.items() if isinstance(value, int | float | str)}


def record(nvml: Nvml, samples: int, pause: Callable[[], None]) -> dict[str, list[Any]]:
    """The answers to listing all GPUs and sampling them so many times.

    Args:
        nvml: The pynvml module, or a stand-in for it.
        samples: How many.
        pause: Waits between two samples.
    """
    recording = NvmlRecording(nvml)
    gpus = Gpus(recording)
    for _ in range(samples):
        gpus.sample()
        pause()
    gpus.close()
    return recording.answers


def main(argv: Sequence[str]) -> int:
    """Records this machine's GPUs; exit code 2 where there is none."""
    parser = argparse.ArgumentParser(prog="vrtspike.profiling.nvml_recording")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=20)
    arguments = parser.parse_args(argv)
    answers = record(pynvml, arguments.samples, lambda: time.sleep(0.2))
    if list(answers) == ["nvmlInit()"]:
        sys.stderr.write("error: no GPU to record: NVML cannot be opened\n")
        return 2
    text = json.dumps({"label": "recorded from a GPU", "answers": answers}, indent=1)
    return 0 if replace_file(arguments.out, text + "\n") else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
