"""The language of a JSON report: prose follows it, what a program reads never does."""

from collections.abc import Mapping
from typing import Any

from diagnostics.language import spoken

TEXT_KEYS = frozenset(
    {
        "gpus_absent_reason",
        "log_problem",
        "memory_snapshots_missing",
        "metric",
        "note",
        "notes",
        "reason",
        "reasons",
        "record_next",
        "run_absent_reason",
        "summary",
        "text",
        "uncounted",
        "verify",
        "worker_rule",
    }
)
"""Keys whose values are prose, or lists of it. All other strings are identifiers: codes, names,
paths, units, clocks, verdicts of a forecast; they are the same in every language, and so is a
single word below one of these keys."""


def spoken_texts(value: Any, key: str = "") -> Any:
    """The same data with its prose in the language spoken now."""
    if isinstance(value, str):
        return spoken(value) if key in TEXT_KEYS and " " in value else value
    if isinstance(value, Mapping):
        return {name: spoken_texts(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [spoken_texts(item, key) for item in value]
    return value
