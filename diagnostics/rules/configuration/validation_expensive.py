"""CF002: validation takes a large part of the run."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.configuration.rarer import rarer, rarer_setting
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, ConfigChange
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

KEY, CROP = "LOG.VAL_EVERY_STEPS", "DATA.VAL_CROP_SIZE"
_RARER = "Validate every {proposed} steps instead of every {current}: then it takes {wanted:.0%}."
_CROP = (
    "Validate on crops of the training's size instead of whole frames; compare PSNR only with "
    "validations of the same crop."
)
_OTHER = "Validate more seldom, on fewer samples, and without gradients (torch.no_grad)."
_WAITS = (
    "Each validation fetches {size:.1f} MiB from disks and servers in {seconds:.0f} s and keeps "
    "{cores:.1f} cores busy meanwhile: it waits for its data, which no cache keeps for it. Have "
    "the data on a faster disk of this machine: a copy, or in VRT-Spike a fast store there "
    "(`python -m vrtspike.data.fast_store`, DATA.FAST_STORE)."
)
MIB = 1 << 20
_WAITS_BELOW_CORES = 0.5
_LEAST_MIB = 1.0
"""Less is what any process reads when it starts."""


class ValidationExpensive(Rule):
    """Time of all validations against the wall time of the run."""

    code = "CF002"
    name = "validation-expensive"
    costs_outside_steps = True
    summary = (
        "{count} validations take {share:.1%} of the run's time, {ms:.1f} ms for each training "
        "step."
    )
    docs = """
## What it measures
The time of all validations, against the time from the first step to the end of the last step or
span.

## Why it matters
It is time in which nothing is learned. The throughput of the steps does not show it.

## What to try
A longer interval, computed so that validation takes a twentieth of the time; crops instead of
whole frames; fewer clips. Validations that hardly compute wait for their data, which no cache of
the trainer keeps: files on a faster disk.

## False alarms
A short run has its validation at the end whatever its length: with fewer than three the rule does
not judge. Early in a training frequent validation can be wanted.
"""
    at_note: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]
    wanted: ClassVar[Threshold]
    least_count: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Compare the share with the limits."""
        share, ms = measured.validation_wall_share, measured.validation_ms
        count = measured.num_validation_spans
        if measured.wall_s is None:
            return self.not_evaluated("the time of steps and validations is unknown", RECORD_FACTS)
        if count < self.least_count.value or share is None or ms is None:
            return self.not_evaluated(
                say("{count} validation(s); three are needed", count=count), "train longer"
            )
        severity = self.grade(share)
        if severity is None:
            return None
        source = measured.source("validation_ms")
        return self.finding(
            severity,
            {"count": count, "share": share, "ms": ms},
            (
                row("validation / wall time", share, "share", self.at_note, source),
                row("validation for each step", ms, "ms", None, source),
            ),
            self._advice(measured, share, ms),
            cost_ms_per_step=ms,
        )

    def _advice(self, measured: Measurements, share: float, ms: float) -> tuple[Advice, ...]:
        every, sign = measured.whole_setting(KEY), verify("validation-expensive is gone")
        waits = _waits(measured, sign)
        if not every:
            return (*waits, Advice(text=_OTHER, verify=sign))
        wanted = self.wanted.value
        proposed = rarer(every, share, wanted)
        change, gain = rarer_setting(KEY, every, proposed, ms)
        advice = Advice(
            text=say(_RARER, proposed=proposed, current=every, wanted=wanted),
            config_change=change,
            predicted_gain=gain,
            verify=sign,
        )
        crop = measured.whole_setting("DATA.CROP_SIZE")
        if "VAL_CROP_SIZE" not in (measured.setting("DATA") or {}) or not crop:
            return (*waits, advice)
        if measured.setting(CROP) is not None:
            return (*waits, advice)
        smaller = ConfigChange(key=CROP, current=None, proposed=crop)
        return (*waits, advice, Advice(text=_CROP, config_change=smaller, verify=sign))


def _waits(measured: Measurements, sign: str) -> tuple[Advice, ...]:
    """Where validations hardly compute and fetch much."""
    read, seconds = measured.validation_bytes, measured.validation_s
    cores = measured.validation_cores
    if read is None or seconds is None or cores is None:
        return ()
    if cores >= _WAITS_BELOW_CORES or read < _LEAST_MIB * MIB:
        return ()
    text = say(_WAITS, size=read / MIB, seconds=seconds, cores=cores)
    return (Advice(text=text, verify=sign),)
