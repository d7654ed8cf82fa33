"""Files for people who look for a cause: whole or absent, few, and never large."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from vrtspike.profiling.jsonl_writer import replace_file

MAX_BYTES = 2 << 20
MIN_INTERVAL_S = 60.0
"""Between two files for the same reason: the second of a series says nothing new."""
_INTERVALS_S = {"request": 1.0}


class DumpFiles:
    """Writes JSON files `<unix>_<reason>.rankN.json` into one folder, rate-limited.

    Half of the `max_files` of a run may be for reasons that do not end it, so that room is left
    for the one that does. `withheld` counts what was not written, by reason.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        *,
        max_files: int,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._rank = rank
        self._max_files = max_files
        self._steady_s = steady_s
        self._last_s: dict[str, float] = {}
        self._written = 0
        self.withheld: Counter[str] = Counter()

    def has_room(self, reason: str, *, is_last: bool = False) -> bool:
        """Whether the limits allow a file now.

        Args:
            reason: Why, as in the file's name.
            is_last: The run is likely to end with what happened.
        """
        before = self._last_s.get(reason)
        interval_s = _INTERVALS_S.get(reason, MIN_INTERVAL_S)
        soon = before is not None and self._steady_s() - before < interval_s
        return not soon and self._written < (self._max_files if is_last else self._max_files // 2)

    def may_write(self, reason: str, *, is_last: bool) -> bool:
        """The same as `has_room`, but what is allowed is counted, and what is not, too."""
        if not self.has_room(reason, is_last=is_last):
            self.withheld[reason] += 1
            return False
        self._last_s[reason] = self._steady_s()
        self._written += 1
        return True

    def write(self, reason: str, unix_s: float, content: dict[str, Any]) -> Path | None:
        """Writes one file; None where the system refused, which is said and stops nothing."""
        path = self._folder / f"{int(unix_s)}_{reason}.rank{self._rank}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        return path if replace_file(path, bounded_text(content)) else None


def bounded_text(content: dict[str, Any]) -> str:
    """The content as JSON of at most `MAX_BYTES`.

    Of its longest list the older half is left out until it fits; `left_out` counts, by name.
    """
    content = {**content, "left_out": {}}
    text = _encode(content)
    while len(text) > MAX_BYTES:
        lists = [name for name, value in content.items() if isinstance(value, list) and value]
        if not lists:
            return _encode({name: content[name] for name in ("schema", "kind", "reason")})
        longest = max(lists, key=lambda name: len(_encode(content[name])))
        cut = (len(content[longest]) + 1) // 2
        left_out = content["left_out"]
        left_out[longest] = left_out.get(longest, 0) + cut
        content[longest] = content[longest][cut:]
        text = _encode(content)
    return text + os.linesep


def _encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_fields, indent=1)


def _fields(value: object) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return dict(vars(value))
    raise TypeError(f"a dump may not hold a {type(value).__name__}")
