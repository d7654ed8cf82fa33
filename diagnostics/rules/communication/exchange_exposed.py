"""CM002: the exchange of gradients takes longer than the backward can hide."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

RECORD_RANKS = "record all ranks of a torchrun, and give the folder that holds them all"
_ADVICE = (
    "Exchange less, or less often: more accumulation for each exchange, gradients in bfloat16 (a "
    "DDP communication hook), and the fastest link there is (NVLink before PCIe before a network; "
    "`nvidia-smi topo -m` shows which one it is)."
)


class ExchangeExposed(Rule):
    """The exchange that is left when the backward is done, for the rank that waits least."""

    code = "CM002"
    name = "exchange-exposed"
    explains = ("CM201", "GP001", "CF001")
    summary = (
        "{exposed_ms:.1f} ms of each step ({share:.1%}) go into exchanging {size_mib:.0f} MiB of "
        "gradients after the backward has ended."
    )
    docs = """
## What it measures
The time between the last gradient and the end of its exchange, in each step of the rank that
waits least: it came last, so nearly all of it is the transfer, not waiting for others.

## Why it matters
Nothing is computed meanwhile. With more ranks the share grows.

## What to try
Fewer and smaller exchanges, a faster link.

## False alarms
Ranks that share one CPU exchange through its memory while others compute; on such a machine the
figure says little about a cluster. A slow rank is another finding (rule CM001).
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the exposed exchange with the step."""
        if measured.world_size == 1:
            return self.not_evaluated("the run had one rank; nothing was exchanged")
        exposed_ms, step_ms = measured.exchange_exposed_ms, measured.exchange_step_ms
        if exposed_ms is None or not step_ms:
            return self.not_evaluated("the exchange of gradients was not recorded", RECORD_RANKS)
        share = exposed_ms / step_ms
        severity = self.grade(share)
        if severity is None:
            return None
        size, source = measured.exchange_bytes or 0.0, measured.source("exchange_ms")
        return self.finding(
            severity,
            {"exposed_ms": exposed_ms, "share": share, "size_mib": size / (1 << 20)},
            (
                row("exposed exchange / step", share, "share", self.at_note, source),
                row("exchange in all", measured.exchange_ms, "ms", None, source),
                row("backward passes with an exchange", measured.exchanges_per_step, "", 1, source),
            ),
            (Advice(text=_ADVICE, verify=verify("exposed exchange shorter")),),
            cost_ms_per_step=exposed_ms,
        )
