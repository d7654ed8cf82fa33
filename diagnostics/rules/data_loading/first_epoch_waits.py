"""DL007: the first pass over the data waits for it, and the later ones do not."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.data_loading.first_pass import is_over_with_first_pass
from diagnostics.rules.evidence_row import row
from diagnostics.rules.finding import Advice, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify
from diagnostics.rules.rule import Outcome, Rule, Threshold

GIB = 1 << 30
_SIGN = verify("no first-epoch-waits")

_NOTHING = (
    "Nothing need be changed: it is paid once, and the {planned} steps of this run share it "
    "({cost_ms:.1f} ms each)."
)
_AGAIN = (
    "Each new run pays it again. Have the data set{size} on a faster disk of this machine: a copy "
    "of it and DATA.ROOT, or a fast store there (`python -m vrtspike.data.fast_store`, "
    "DATA.FAST_STORE). With more epochs in a run its share falls by itself."
)
_SIZE = " ({size_gib:.2g} GiB of files)"


class FirstEpochWaits(Rule):
    """What reading each frame for the first time costs, where only the first time costs."""

    code = "DL007"
    name = "first-epoch-waits"
    for_our_trainer = True
    explains = ("CF006", "CF004")
    summary = (
        "The first epoch waits {first_ms:.1f} ms of each step for data ({total_s:.0f} s in all), "
        "those after it {later_ms:.1f} ms. Of the {planned} step(s) planned that is {share:.1%}."
    )
    docs = """
## What it measures
The wait for data that nothing hides, in the steps until every sample was read once and in the steps
after them, where these do not wait (below rule DL001's first limit).

## Why it matters
The first time each frame comes from where the data lies; later the cache, or what the kernel keeps
of files, has it. Means over the whole run mix both: a wait that is over looks like one that lasts.

## What to try
Nothing in a run of many epochs. Where runs are short or many, files on a faster disk of the
machine: a copy, or a fast store.

## False alarms
A machine or a network that was busy only at first looks alike.
"""
    first_share: ClassVar[Threshold]
    later_share: ClassVar[Threshold]
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Hold the first pass against the rest, and against the whole run as it was planned."""
        first_ms, step_ms = measured.first_wait_ms, measured.first_step_ms
        steps, later_ms = measured.first_pass_steps, measured.later_wait_ms
        if first_ms is None or not step_ms or steps is None:
            return self.not_evaluated("the run did not say how long its epochs are")
        if later_ms is None:
            return self.not_evaluated("no second epoch was seen", "train for two epochs")
        is_first = first_ms >= self.first_share.value * step_ms
        if not is_first or not is_over_with_first_pass(measured, self.later_share.value):
            return None
        planned = max(steps, measured.steps_planned or 0, measured.num_steps)
        later_step_ms = measured.later_step_ms or 0.0
        whole_ms = steps * step_ms + (planned - steps) * later_step_ms
        share, cost_ms = steps * first_ms / whole_ms, steps * first_ms / planned
        source = measured.source("first_wait_ms")
        return self.finding(
            Severity.WARN if share >= self.at_warn.value else Severity.NOTE,
            {
                "first_ms": first_ms,
                "total_s": steps * first_ms / 1000,
                "later_ms": later_ms,
                "share": share,
                "planned": planned,
            },
            (
                row(
                    "wait in the first epoch / step",
                    first_ms / step_ms,
                    "share",
                    self.first_share,
                    source,
                ),
                row(
                    "wait after it / step",
                    later_ms / later_step_ms,
                    "share",
                    self.later_share,
                    source,
                ),
                row("wait of the first epoch / run", share, "share", self.at_warn, source),
            ),
            (_advice(measured, planned, cost_ms, is_small=share < self.at_warn.value),),
            cost_ms_per_step=cost_ms,
        )


def _advice(measured: Measurements, planned: int, cost_ms: float, *, is_small: bool) -> Advice:
    if is_small:
        return Advice(text=say(_NOTHING, planned=planned, cost_ms=cost_ms), verify=_SIGN)
    size = measured.data_file_bytes
    told = "" if size is None else say(_SIZE, size_gib=size / GIB)
    return Advice(text=say(_AGAIN, size=told), verify=_SIGN)
