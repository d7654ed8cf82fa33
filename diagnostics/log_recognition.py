"""What was recognised in a text log that does not say of itself who wrote it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

STEP_LINE = "step line"
LEAST_STEP_LINES = 3


@dataclass(frozen=True, kw_only=True)
class LogRecognition:
    """How much of a log has a known format.

    `by_kind` counts the recognised lines by what they are, such as `progress` or `oom`; `families`
    are the trainers whose logs are known.
    """

    num_lines: int
    num_recognised: int
    by_kind: Mapping[str, int] = field(default_factory=dict)
    families: tuple[str, ...] = ()

    @property
    def tells_too_little(self) -> bool:
        """No step, or one or two lines of one that may look so by chance among unknown ones."""
        stated = self.by_kind.get(STEP_LINE, 0)
        is_mostly_unknown = 2 * self.num_recognised < self.num_lines
        return not stated or (stated < LEAST_STEP_LINES and is_mostly_unknown)
