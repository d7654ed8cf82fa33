"""How far the report can be trusted, as plain data."""

from dataclasses import asdict
from typing import Any

from diagnostics.report.audit_words import WORDS, reason_of
from diagnostics.report.model import Trust


def trust_mapping(trust: Trust) -> dict[str, Any]:
    """Grade and reasons; each doubt of the audit with its value and limit; what passed."""
    return {
        "grade": trust.grade,
        "reasons": list(trust.reasons),
        "trace_grade": trust.trace_grade,
        "record_next": trust.record_next,
        "doubts": [
            {
                **asdict(doubt),
                "values": dict(doubt.values),
                "text": reason_of(doubt),
                "effect": WORDS[doubt.check].effect,
            }
            for doubt in trust.doubts
        ],
        "passed": list(trust.passed),
    }
