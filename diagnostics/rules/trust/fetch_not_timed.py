"""TR004: the log's time for data begins after the batch was fetched."""

from typing import ClassVar

from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold


class FetchNotTimed(Rule):
    """A data time that leaves the fetch out, beside the wall clock of the same log."""

    code = "TR004"
    name = "fetch-not-timed"
    summary = (
        "The log's data_time ({data_ms:.1f} ms) begins after the batch was fetched: the wait for "
        "the loader is in none of its times."
    )
    docs = """
## What it measures
Whether the log's time for data spans the fetch of the batch, and how much of the step by the wall
clock no time of the log holds.

## Why it matters
A data time that begins after the fetch measures how fast copies were queued, a tenth of a
millisecond, however long the loader took. A run that waits for data looks bound by its GPU.

## What to try
Record with this trainer, or with `vrtspike.profiling.record` around a loop of your own: their wait
for data spans the fetch.

## False alarms
Time outside the log's own times also holds logging and whatever else the loop does between steps.
"""
    at_warn: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Look at what the log times, and at what it leaves untimed."""
        if measured.data_time_ms is None:
            return self.not_evaluated("no log states a time for data", RECORD_FACTS)
        if not measured.leaves_fetch_out:
            return None
        least, wall = measured.untimed_low_ms, measured.wall_step_ms
        matters = bool(wall and least is not None and least / wall >= self.at_warn.value)
        source = measured.source("step_ms")
        pairs = (
            ("data_time, as stated", measured.data_time_ms, None),
            ("step by the wall clock of the progress lines", wall, None),
            ("step as its samples/s count it", measured.timed_step_ms, None),
            (
                "time of the step that the log does not hold",
                measured.untimed_ms,
                None if wall is None else wall * self.at_warn.value,
            ),
        )
        return self.finding(
            Severity.WARN if matters else Severity.NOTE,
            {"data_ms": measured.data_time_ms},
            tuple(
                Evidence(metric=metric, value=value, unit="ms", limit=limit, source=source)
                for metric, value, limit in pairs
                if value is not None
            ),
            (
                Advice(
                    text="Conclude nothing about data loading from this log; record the run with "
                    "this trainer, whose wait for data spans the fetch.",
                    verify=verify("a wait for data in the phases of the step"),
                ),
            ),
            cost_ms_per_step=measured.untimed_ms if matters else None,
        )
