"""What the phases of a trace count, and what they do not."""

from collections.abc import Iterator

from diagnostics.language import say
from diagnostics.report import units
from diagnostics.report.model import Report
from diagnostics.run import TRACE_ONLY

PRIORITY = (
    "Each moment counts once, for the first of these phases that covers it. Kernels that "
    "communicate are kernels here: communication takes {all_ms} ms of each step in all, "
    "{exposed_ms} of them with nothing computed beside it (rule CM201)."
)


def phase_notes(report: Report) -> Iterator[str]:
    """What of communication the table of phases does not hold; nothing where there is none."""
    for each in report.analysis.traces:
        found = each.breakdown
        if report.evidence != TRACE_ONLY or found is None or not found.communication_share:
            continue
        yield say(
            PRIORITY,
            all_ms=units.ms(found.ms_per_step(found.communication_share)),
            exposed_ms=units.ms(found.ms_per_step(found.communication_exposed_share)),
        )
