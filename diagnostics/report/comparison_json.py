"""A comparison with a baseline as plain data: times in ms, sizes in bytes, unknown is null."""

from dataclasses import asdict
from typing import Any

from diagnostics.report.comparison_build import AgainstBaseline
from diagnostics.rules.regressions import Regression


def comparison_mapping(against: AgainstBaseline | None) -> dict[str, Any]:
    """The key `comparison` of the JSON report; empty without a baseline."""
    if against is None:
        return {}
    found = against.comparison
    return {
        **asdict(found),
        "is_judged": against.is_judged,
        "is_like_with_like": found.is_like_with_like,
        "doubts": [{"kind": each.kind, "text": each.text} for each in against.doubts],
        "inputs": [
            {**asdict(each), "path": str(each.path), "notes": list(each.notes)}
            for each in against.inputs
        ],
        "regressions": [_regression(each) for each in against.regressions],
        "new_findings": [each.rule for each in against.new_findings],
        "gone_findings": list(against.gone),
    }


def _regression(regression: Regression) -> dict[str, Any]:
    return {
        "name": regression.name,
        "severity": regression.severity.label,
        "summary": regression.summary,
        "values": dict(regression.values),
        "limit": asdict(regression.limit),
    }
