"""DL006: samples could not be loaded, and the run went on without them."""

from typing import ClassVar

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Evidence, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import RECORD_FACTS, verify
from diagnostics.rules.rule import Outcome, Rule, Threshold, graded


class SamplesDamaged(Rule):
    """Files that are missing, cut short or unreadable."""

    code = "DL006"
    name = "samples-damaged"
    summary = "{count} file(s) of the data set could not be read; the first: {first}."
    docs = """
## What it measures
Files that the loading processes could not read or decode, each counted once, and the largest share
of a split's samples that they spoiled in one pass.

## Why it matters
With `DATA.BAD_SAMPLES: skip` another sample takes the place of a damaged one in training, and
validation leaves it out. The run goes on, and what it was trained and measured on is no longer what
the data set promises. Damage that grows from epoch to epoch is a disk that fails.

## What to try
Repair or copy the named files anew, or remove the whole frame. All of them stand in the facts.

## False alarms
A file that was being written or copied while the run read it is whole by now.
"""
    at_warn: ClassVar[Threshold]
    at_critical: ClassVar[Threshold]

    def check(self, measured: Measurements) -> Outcome:
        """Any file is worth a word; many samples are worth an end."""
        files, share = measured.num_damaged_files, measured.damaged_share
        if files is None:
            return self.not_evaluated("damaged samples were not recorded", RECORD_FACTS)
        severity = graded(files, (self.at_warn, Severity.WARN))
        if severity is None:
            return None
        if share is not None and share >= self.at_critical.value:
            severity = Severity.CRITICAL
        source = measured.source("num_damaged_files")
        return self.finding(
            severity,
            {"count": files, "first": measured.first_damaged_file or "?"},
            (
                Evidence(
                    metric="files that could not be read",
                    value=files,
                    unit="count",
                    limit=self.at_warn.value,
                    source=source,
                ),
                Evidence(
                    metric="damaged samples / split",
                    value=share,
                    unit="share",
                    limit=self.at_critical.value,
                    source=source,
                ),
            ),
            (
                Advice(
                    text=say("Repair or copy anew the {count} named file(s).", count=files),
                    verify=verify("no samples-damaged"),
                ),
            ),
        )
