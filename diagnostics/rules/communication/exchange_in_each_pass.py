"""CM003: gradients are exchanged in every micro-batch instead of once a step."""

from typing import ClassVar

from diagnostics.rules.communication.exchange_exposed import RECORD_RANKS
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Gain, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_ADVICE = (
    "Leave the exchange out of all backward passes of a step but the last: `with "
    "model.no_sync():` around the forward and backward of the others."
)


class ExchangeInEachPass(Rule):
    """Backward passes of a step that ended in an exchange."""

    code = "CM003"
    name = "exchange-in-each-pass"
    explains = ("CM002",)
    summary = (
        "{exchanges:.1f} of {passes:.1f} backward passes of a step exchange gradients; one would "
        "do. The others cost {cost_ms:.1f} ms of each step."
    )
    docs = """
## What it measures
How many backward passes of an optimizer step ended in an exchange of gradients, against the
passes that were accumulated.

## Why it matters
Sums of gradients may be exchanged once, after the last pass. Exchanging each part moves the same
bytes again and again, and every exchange waits for the slowest rank.

## What to try
`no_sync()` in all passes but the last.

## False alarms
Sharded training (FSDP) exchanges in each pass to save memory, and does so on purpose.
"""
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Count the exchanges of a step."""
        if measured.world_size == 1:
            return self.not_evaluated("the run had one rank; nothing was exchanged")
        exchanges, passes = measured.exchanges_per_step, measured.exchange_passes
        exposed_ms = measured.exchange_exposed_ms
        if exchanges is None or passes is None or exposed_ms is None:
            return self.not_evaluated("the exchange of gradients was not recorded", RECORD_RANKS)
        if passes < self.at_warn.value or exchanges < self.at_warn.value:
            return None
        cost_ms = exposed_ms * (1 - 1 / exchanges)
        source = measured.source("exchange_ms")
        return self.finding(
            Severity.WARN,
            {"exchanges": exchanges, "passes": passes, "cost_ms": cost_ms},
            (
                row("exchanges of a step", exchanges, "", self.at_warn, source),
                row("exposed exchange", exposed_ms, "ms", None, source),
            ),
            (
                Advice(
                    text=_ADVICE,
                    predicted_gain=Gain(low_ms=0.0, mid_ms=None, high_ms=cost_ms),
                    verify=verify("one exchange a step"),
                ),
            ),
            cost_ms_per_step=cost_ms,
        )
