"""KN001: one stage takes a large part of the forward."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.kernels.compute_advice import (
    fused_attention,
    heaviest_stage,
    how_to_trace,
    largest_gain,
)
from diagnostics.rules.kernels.stage_advice import stage_switches
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS
from diagnostics.rules.rule import Outcome, Rule, Threshold

_NO_SWITCH = (
    "No known switch makes {stage} cheaper without another network: {trace} shows its kernels and "
    "operators."
)


class StageDominatesForward(Rule):
    """The heaviest stage, with the ceiling of what work on it can bring."""

    code = "KN001"
    name = "stage-dominates-forward"
    summary = (
        "{stage} takes {share:.1%} of the forward ({stage_ms:.1f} of {forward_ms:.1f} ms). Even if "
        "its forward cost nothing, the step would be at most {speedup:.2f}x faster."
    )
    docs = """
## What it measures
The mean time of every stage of the forward as a share of the forward. The ceiling is Amdahl's:
the step without the stage's forward time.

## Why it matters
Work on a stage pays in proportion to its share. The performance guide gives a stage above 15 % a
very high priority, above 8 % a high one, above 5 % a medium one.

## What to try
The switches that touch this stage alone, if its part is worth it: fused attention first, because
it changes no weights; then depth, window or chunks.

## False alarms
Some stage is always the largest: in a network of eight stages this is a pointer, not a fault.
Therefore it is never more than a note, and none where the step waits for other things. Stage times
by the host's clock on a GPU say nothing; rule TR003 tells.
"""
    at_note: ClassVar[Threshold]
    of_step: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Find the heaviest stage and compare its share."""
        forward_ms, step_ms = measured.staged_forward_ms, measured.step_ms
        stage = heaviest_stage(measured)
        if stage is None or not forward_ms or not step_ms:
            return self.not_evaluated("stage times were not recorded", RECORD_FACTS)
        if measured.device == "cuda" and measured.stage_clock != "device":
            return self.not_evaluated(
                "the stage times come from the host's clock, which says nothing about a GPU",
                "record stage times with CUDA events",
            )
        stage_ms = measured.stage_ms[stage]
        share = stage_ms / forward_ms
        if share <= self.at_note.value or stage_ms < self.of_step.value * step_ms:
            return None
        advice = self._advice(measured, forward_ms)
        return self.finding(
            Severity.NOTE,
            {
                "stage": stage,
                "share": share,
                "stage_ms": stage_ms,
                "forward_ms": forward_ms,
                "speedup": step_ms / max(step_ms - stage_ms, 1e-9),
            },
            self._evidence(measured, forward_ms),
            advice,
            cost_ms_per_step=largest_gain(advice),
        )

    def _evidence(self, measured: Measurements, forward_ms: float) -> tuple[Evidence, ...]:
        return tuple(
            Evidence(
                metric=say("{name} / forward", name=name),
                value=measured.stage_ms[name] / forward_ms,
                unit="share",
                limit=self.at_note.value,
                source=measured.source("stage_ms"),
            )
            for name in self._heavy(measured, forward_ms)
        )

    def _advice(self, measured: Measurements, forward_ms: float) -> tuple[Advice, ...]:
        """The switches of the heaviest of these stages that has any."""
        heavy = self._heavy(measured, forward_ms)
        for stage in heavy:
            attention = [fused_attention(measured)] if stage.startswith("vrt.stage") else []
            candidates = [*attention, *stage_switches(measured, stage)]
            advice = tuple(item for item in candidates if item is not None)
            if advice:
                return advice
        text = say(_NO_SWITCH, stage=heavy[0], trace=how_to_trace(measured))
        return (Advice(text=text),)

    def _heavy(self, measured: Measurements, forward_ms: float) -> list[str]:
        """The stages above the limit, the heaviest first."""
        names = [
            name
            for name, ms in measured.stage_ms.items()
            if name != "forward.other" and ms / forward_ms > self.at_note.value
        ]
        return sorted(names, key=lambda name: (-measured.stage_ms[name], name))
