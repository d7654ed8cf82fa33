"""NU002: the restored video is worse than it was, or than the blurry input."""

from typing import ClassVar

from diagnostics.language import listed, say
from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class QualityDropped(Rule):
    """Validation PSNR below the input's, or clearly below its own best."""

    code = "NU002"
    name = "quality-dropped"
    for_our_trainer = True
    summary = "The last validation reached {last:.2f} dB PSNR: {what}."
    docs = """
## What it measures
The PSNR of the last validation against the best one of the run and against the blurry input.

## Why it matters
A faster plan that restores less is no gain. An output below its own input does harm.

## What to try
Return to the last good checkpoint with a lower learning rate; train longer; go back to the
conservative plan (configs/deblur/vrt_spike_opt.yaml); let a larger teacher help
(TRAIN.DISTILLATION). While quality is down, the report proposes no smaller network.

## False alarms
Small validation sets scatter by some tenths of a dB. At the start of a training the output is
below its input; as long as it rises from one validation to the next, that is no finding.
"""
    below_input: ClassVar[Threshold]
    rise: ClassVar[Threshold]
    fall: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the last validation with the input and with the best."""
        last = measured.psnr_last_db
        if last is None or measured.num_validations < 2:
            return self.not_evaluated(
                say(
                    "{num_validations} validation(s) with a PSNR; two are needed",
                    num_validations=measured.num_validations,
                ),
                "train until the second validation (LOG.VAL_EVERY_STEPS)",
            )
        what = self._what(measured, last)
        if not what:
            return None
        source = measured.source("psnr_last_db")
        return self.finding(
            Severity.WARN,
            {"last": last, "what": what},
            (
                Evidence(metric="last PSNR", value=last, unit="db", source=source),
                Evidence(metric="best PSNR", value=measured.psnr_best_db, unit="db", source=source),
                Evidence(
                    metric="PSNR of the blurry input",
                    value=measured.psnr_input_db,
                    unit="db",
                    source=source,
                ),
            ),
            (
                Advice(
                    text="Go back to the best checkpoint and train on with a lower learning rate; "
                    "if the network was made smaller, return to the conservative plan, train "
                    "longer, or distil from the larger network.",
                    verify=verify("validation PSNR above the input and close to its best"),
                ),
            ),
        )

    def _what(self, measured: Measurements, last: float) -> str:
        parts = []
        if _is_below_input(measured):
            parts.append(
                say(
                    "below its blurry input ({psnr_input_db:.2f} dB)",
                    psnr_input_db=measured.psnr_input_db,
                )
            )
        if _has_fallen(measured):
            parts.append(
                say(
                    "below the best of the run ({psnr_best_db:.2f} dB)",
                    psnr_best_db=measured.psnr_best_db,
                )
            )
        return listed(parts, " and ")


def quality_dropped(measured: Measurements) -> bool:
    """Whether the rule fires; advice that costs quality asks this first."""
    enough = measured.num_validations >= 2
    return enough and (_is_below_input(measured) or _has_fallen(measured))


def _is_below_input(measured: Measurements) -> bool:
    last, own = measured.psnr_last_db, measured.psnr_input_db
    if last is None or own is None or own - last < QualityDropped.below_input.value:
        return False
    previous = measured.psnr_previous_db
    return previous is None or last - previous < QualityDropped.rise.value


def _has_fallen(measured: Measurements) -> bool:
    last, best = measured.psnr_last_db, measured.psnr_best_db
    return last is not None and best is not None and best - last >= QualityDropped.fall.value
