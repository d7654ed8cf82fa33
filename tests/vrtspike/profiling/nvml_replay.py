"""A stand-in for pynvml that gives the answers of a recording, call by call."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pynvml

FOLDER = Path(__file__).parents[2] / "data" / "nvml"


class GpmQuery:
    """Like NVML's structure, without its fixed size in C."""

    def __init__(self):
        self.version = self.numMetrics = 0
        self.sample1 = self.sample2 = None
        self.metrics = [SimpleNamespace(metricId=0, nvmlReturn=0, value=0.0) for _ in range(32)]


class NvmlReplay:
    """Replays `answers`; what they do not hold is a function that the driver lacks.

    `calls` counts every call, `open` is what nvmlInit has opened and nvmlShutdown not closed.
    """

    c_nvmlGpmMetricsGet_t = GpmQuery  # noqa: N815

    def __init__(self, answers, **changes):
        self.answers = {**answers, **changes}
        self.calls = Counter()
        self.open = 0
        self.num_samples = 0
        self._sampled = {}
        self._handles = {}

    def __getattr__(self, name):
        if not name.startswith("nvml"):
            return getattr(pynvml, name)
        return lambda *arguments: self._call(name, arguments)

    def _call(self, name, arguments):
        if name == "nvmlGpmSampleAlloc":
            self.num_samples += 1
            return SimpleNamespace(number=self.num_samples)
        if name == "nvmlGpmSampleFree":
            self.num_samples -= 1
            return None
        if name == "nvmlGpmMetricsGet":
            return self._metrics(*arguments)
        if name in ("nvmlGpmSampleGet", "nvmlGpmMigSampleGet"):
            *arguments, sample = arguments
            answer = self._answer(name, arguments)
            self._sampled[sample.number] = ",".join(map(str, arguments))
            return answer
        answer = self._answer(name, arguments)
        self.open += {"nvmlInit": 1, "nvmlShutdown": -1}.get(name, 0)
        return answer

    def _answer(self, name, arguments):
        key = f"{name}({','.join(map(str, arguments))})"
        answer = self._next(key, {"error": pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})
        if isinstance(answer, dict) and "error" in answer:
            raise pynvml.NVMLError(answer["error"])
        if isinstance(answer, dict) and "handle" in answer:
            return self._handles.setdefault(answer["handle"], Handle(answer["handle"]))
        if isinstance(answer, dict):
            return SimpleNamespace(**answer["fields"])
        return answer

    def _next(self, key, default):
        place = self.calls[key]
        self.calls[key] += 1
        held = self.answers.get(key)
        return default if held is None else held[min(place, len(held) - 1)]

    def _metrics(self, query):
        first, second = (self._sampled[each.number] for each in (query.sample1, query.sample2))
        assert query.sample1 is not query.sample2
        assert first == second
        values = self._next(f"gpm({second})", None)["metrics"]
        for metric in query.metrics[: query.numMetrics]:
            value = values.get(str(metric.metricId), {"error": pynvml.NVML_ERROR_NOT_SUPPORTED})
            metric.nvmlReturn = value["error"] if isinstance(value, dict) else 0
            metric.value = 0.0 if isinstance(value, dict) else value
        return query


class Handle:
    """What NVML would know a GPU by."""

    def __init__(self, name):
        self.name = name

    def __str__(self):
        return self.name


def answers(name):
    """The answers of a recording in tests/data/nvml."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))["answers"]
