"""What differs between two runs beside their times: what was changed, and what makes them unlike.

A changed configuration is what a comparison is for. Another machine, other versions or another way
of measuring make two runs not like with like: their times may differ without any of the changes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from diagnostics.analyses.selection import select_ordinary
from diagnostics.analyses.throughput import compute_throughput
from diagnostics.run import Run

DifferenceKind = Literal["configuration", "hardware", "software", "work", "measurement"]

_DEVICE_NAMES = {
    "type": "kind of device",
    "name": "device",
    "count": "number of devices",
    "threads": "threads of PyTorch",
    "memory_total_bytes": "memory of the device in bytes",
    "compute_capability": "compute capability",
}
_NOT_COMPARED = ("LOG.", "DATA.ROOT", "TRAIN.TOTAL_STEPS", "TRAIN.EPOCHS", "SEED")
"""Where a run writes, how long it is and its seed do not change what a step costs."""
MAX_VALUE_CHARACTERS = 120
MAX_DEPTH = 16
SAMPLES_PER_STEP = "samples per step"
SAME_WORK_SHARE = 0.05
"""A log rounds its samples/s: below this share two counts of samples are the same."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not the same. Values are text; None is not stated.

    `kind` "configuration" is a setting; "work" is how much a step does; the others are reasons not
    to compare.
    """

    kind: DifferenceKind
    name: str
    before: str | None
    after: str | None

    @property
    def is_unlike(self) -> bool:
        """Whether times may differ for this reason alone, without any change of the training."""
        return self.kind in ("hardware", "software", "measurement")


def find_differences(before: Run, after: Run) -> tuple[Difference, ...]:
    """Everything that differs, hardware first; what only one of them states is no difference."""
    return (
        *_hardware(before, after),
        *_software(before, after),
        *_measurement(before, after),
        *_work(before, after),
        *_configuration(before, after),
    )


def _hardware(before: Run, after: Run) -> Iterator[Difference]:
    for key, name in _DEVICE_NAMES.items():
        values = before.info.device.get(key), after.info.device.get(key)
        yield from _differing("hardware", name, *values)
    yield from _differing("hardware", "host", before.info.host, after.info.host)
    cores = [_largest(run, "cpus_allowed") for run in (before, after)]
    yield from _differing("hardware", "cores", cores[0], cores[1])
    yield from _differing("hardware", "ranks", before.info.world_size, after.info.world_size)


def _largest(run: Run, column: str) -> float | None:
    values = run.tables.host[column].dropna()
    return float(values.max()) if len(values) else None


def _software(before: Run, after: Run) -> Iterator[Difference]:
    names = dict.fromkeys((*before.info.versions, *after.info.versions))
    for name in names:
        values = before.info.versions.get(name), after.info.versions.get(name)
        yield from _differing("software", name, *values)


def _measurement(before: Run, after: Run) -> Iterator[Difference]:
    yield from _differing("measurement", "evidence", before.evidence, after.evidence)
    yield from _differing("measurement", "clock", before.info.clock, after.info.clock)
    yield from _differing(
        "measurement", "log family", before.info.log_family, after.info.log_family
    )


def _work(before: Run, after: Run) -> Iterator[Difference]:
    rates = [compute_throughput(run).samples_per_step for run in (before, after)]
    if rates[0] and rates[1] and abs(rates[1] / rates[0] - 1) > SAME_WORK_SHARE:
        yield from _differing("work", SAMPLES_PER_STEP, rates[0], rates[1])
    passes = [_micro_batches(run) for run in (before, after)]
    yield from _differing("work", "micro-batches per step", passes[0], passes[1])


def _micro_batches(run: Run) -> float | None:
    values = select_ordinary(run.tables.steps).rows["micro_batches"].dropna()
    return float(values.median()) if len(values) else None


def _configuration(before: Run, after: Run) -> Iterator[Difference]:
    settings = [dict(flattened(run.info.config)) for run in (before, after)]
    if not all(settings):
        return
    for key in sorted({*settings[0], *settings[1]}):
        if not key.startswith(_NOT_COMPARED):
            yield from _differing("configuration", key, settings[0].get(key), settings[1].get(key))


def flattened(
    config: Mapping[str, Any], prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted key; what lies deeper than any configuration is left out."""
    for key, value in config.items():
        if not isinstance(value, Mapping):
            yield f"{prefix}{key}", value
        elif depth < MAX_DEPTH:
            yield from flattened(value, f"{prefix}{key}.", depth + 1)


def _differing(kind: DifferenceKind, name: str, before: Any, after: Any) -> Iterator[Difference]:
    """Nothing where either is not known, but for settings, which a version may lack."""
    if before == after or (kind != "configuration" and (before is None or after is None)):
        return
    yield Difference(kind=kind, name=name, before=_text(before), after=_text(after))


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)[:MAX_VALUE_CHARACTERS]
