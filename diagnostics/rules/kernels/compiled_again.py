"""KN004: stages are compiled again and again."""

from typing import ClassVar

from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

_SHAPES = (
    "Keep the shapes of the batches from changing: one crop size, full batches "
    "(DATALOADER.DROP_LAST), whole epochs between changes of a crop schedule. "
    "TORCH_LOGS=recompiles names what changed."
)
_OFF = (
    "If shapes must change, train without compilation: a step saves less than compiling costs here."
)


class CompiledAgain(Rule):
    """Time that steps with a compilation took beyond an ordinary step."""

    code = "KN004"
    name = "compiled-again"
    for_our_trainer = True
    summary = (
        "{count} steps compiled, the last one step {last}; shared by all steps that is "
        "{cost_ms:.1f} ms each ({share:.1%})."
    )
    docs = """
## What it measures
Steps in which torch.compile made new code, and their time above an ordinary step, shared by all
steps of the run.

## Why it matters
Compiling takes seconds to minutes. It pays once; when shapes change it is done again for each of
them, until PyTorch gives up and runs uncompiled.

## What to try
Constant shapes; otherwise no compilation.

## False alarms
A short run has not had the time to win back its first compilation. The rule waits for later ones.
"""
    least_count: ClassVar[Threshold]
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    late: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Late compilations, and what they cost."""
        if measured.setting("TRAIN.COMPILE_MODEL") is not True:
            return self.not_evaluated("the run compiled nothing, or its settings are unknown")
        count, cost_ms = measured.num_compile_steps, measured.compile_cost_ms
        if count is None or cost_ms is None or not measured.step_mean_ms:
            return self.not_evaluated("steps that compiled were not recorded", RECORD_FACTS)
        share = cost_ms / measured.step_mean_ms
        last = measured.last_compile_step or 0
        severity = self.grade(share)
        if severity is None or count < self.least_count.value or last < self.late.value:
            return None
        source = measured.source("compile_cost_ms")
        off = ConfigChange(key="TRAIN.COMPILE_MODEL", current=True, proposed=False)
        return self.finding(
            severity,
            {"count": count, "last": last, "cost_ms": cost_ms, "share": share},
            (
                row("steps that compiled", count, "count", self.least_count, source),
                row("compiling / step", share, "share", self.at_note, source),
            ),
            (
                Advice(text=_SHAPES, verify=verify("no compiled-again")),
                Advice(text=_OFF, config_change=off, verify=verify("samples/s by the wall clock")),
            ),
            cost_ms_per_step=cost_ms,
        )
