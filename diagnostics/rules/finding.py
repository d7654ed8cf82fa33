"""What a rule answers: a finding with its evidence and advice, or why it could not look.

Findings are data. Times are milliseconds per optimizer step, sizes are bytes; None is unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, TypeAlias

Value: TypeAlias = float | int | str | None
SettingValue: TypeAlias = bool | int | float | str | tuple[int, ...] | None
Direction = Literal["more", "less"]
DEVICE_MEMORY = "device memory"
"""What some advice frees and other advice takes."""


class Severity(IntEnum):
    """How urgent a finding is; the order is the order of `--fail-on`."""

    NOTE = 1
    WARN = 2
    CRITICAL = 3

    @property
    def label(self) -> str:
        """The word used in reports, JSON and arguments."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One measured value beside the limit it was held against, and where it was read.

    `limit` is None for a value that only gives context. `unit` is one of ms, share, bytes, count,
    percent, db, samples/s, bytes/step, or empty for a word.
    """

    metric: str
    value: Value
    unit: str
    limit: float | None = None
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConfigChange:
    """A switch to set: its key as the configuration file spells it, with the value it has now."""

    key: str
    current: SettingValue
    proposed: SettingValue


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What following an advice could save, in ms per step, computed from this run's own times.

    `high` is a ceiling: the whole cost gone. `low` is what remains if the advice does not apply.
    """

    low_ms: float
    mid_ms: float | None
    high_ms: float


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The most that removing a cause can bring, by Amdahl's law: the rest of the step stays.

    `speedup` is None where nothing of the step would be left.
    """

    step_ms: float
    without_ms: float
    speedup: float | None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One thing to do; `verify` is the command that shows whether it helped."""

    text: str
    config_change: ConfigChange | None = None
    predicted_gain: Gain | None = None
    verify: str | None = None
    towards: tuple[str, Direction] | None = None
    """What it takes more or less of; an advice that needs the opposite contradicts it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A pattern that a rule saw in the measurements.

    `cost_ms_per_step` is the time that could be recovered at most, `cost_bytes` the memory in
    question. `explains` holds the codes of findings in the same report that are symptoms of this
    one; `values` are the numbers the rule's summary sentence is filled with. `capped_from` is the
    severity by its value alone, where the measurement is too doubtful for it.
    """

    rule: str
    name: str
    severity: Severity
    summary: str
    values: Mapping[str, Value] = field(default_factory=dict)
    cost_ms_per_step: float | None = None
    cost_bytes: int | None = None
    evidence: tuple[Evidence, ...] = ()
    advice: tuple[Advice, ...] = ()
    explains: tuple[str, ...] = ()
    ceiling: Ceiling | None = None
    capped_from: Severity | None = None


@dataclass(frozen=True, kw_only=True)
class NotEvaluated:
    """A rule that could not look: why, and what to record to get an answer.

    `record_next` is None where nothing needs recording, such as a GPU rule of a CPU run.
    """

    rule: str
    name: str
    reason: str
    record_next: str | None = None
