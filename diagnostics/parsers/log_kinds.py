"""What the recognised lines of a log are, by kind."""

from collections import Counter

from diagnostics.log_recognition import LogRecognition
from diagnostics.parsers.log_formats.registry import family_names
from diagnostics.parsers.log_scan import LogScan

OTHER = "other"
"""Lines that a format knows and that no table wants."""


def recognition_of(scan: LogScan) -> LogRecognition:
    """How many lines are of each kind."""
    found = scan.found
    counts: Counter[str] = Counter(found.left_out)
    for key, columns in found.columns.items():
        counts[key.kind] += sum(map(len, columns.places))
    counts.update(statement.kind for _, statement in found.statements)
    others = found.num_recognised - counts.total()
    if others > 0:
        counts[OTHER] += others
    return LogRecognition(
        num_lines=scan.num_lines,
        num_recognised=found.num_recognised,
        by_kind=dict(counts.most_common()),
        families=family_names(),
    )
