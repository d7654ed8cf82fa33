"""What the checks of the audit look at, and how a doubt is put: what was seen, and what it does.

`python -m diagnostics.report.audit_words > docs/trust.md` writes the page from these words.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from diagnostics.analyses.audit_doubt import Doubt, Grade
from diagnostics.analyses.audit_limits import STEP_LIMITS, TRACE_LIMITS
from diagnostics.language import say


@dataclass(frozen=True)
class Words:
    """Of one check: its title, the sentence of a doubt, its effect, and what to record instead."""

    title: str
    says: str
    effect: str
    record_next: str


AGAIN = "the same run once more"
LONGER = "a run of at least 20 ordinary steps"
TRACE_AGAIN = "a trace of at least 5 steps after 3 of warm-up"
LESS_DETAIL = "a trace without stacks and shapes"

WORDS: Mapping[str, Words] = {
    "step_marks_missing": Words(
        "Numbers of steps that are missing",
        "{missing} of {expected} steps have no mark",
        "steps of the trace may be longer than they were",
        TRACE_AGAIN,
    ),
    "step_marks_doubled": Words(
        "Steps marked twice, or overlapping",
        "{doubled} of {steps} step marks repeat or overlap another",
        "times for each step are wrong",
        TRACE_AGAIN,
    ),
    "device_events_dropped": Words(
        "Launches without their kernel",
        "{launches} launches ({value:.1%}) have no kernel, worst in step {worst_step} "
        "({worst_share:.0%})",
        "the device looks idle where it worked",
        TRACE_AGAIN,
    ),
    "launches_missing": Words(
        "Kernels without their launch",
        "{kernels} kernels ({value:.1%}) have no launch",
        "their operators and the causes of idle time before them are unknown",
        TRACE_AGAIN,
    ),
    "host_spans_overlap": Words(
        "Calls of one thread that overlap without nesting",
        "{value:.1%} of the events of threads begin inside another and end after it",
        "operators and causes of idle time may be the wrong ones",
        TRACE_AGAIN,
    ),
    "device_spans_overlap": Words(
        "Work of one stream that overlaps",
        "{value:.1%} of the events of streams begin before the last one ended",
        "kernels look longer than they were",
        TRACE_AGAIN,
    ),
    "kernels_before_launch": Words(
        "Kernels that begin before their launch",
        "{value:.1%} of the kernels begin before they were launched, by up to {worst_us:.0f} us",
        "the clocks of host and device disagree, and idle time is laid to the wrong call",
        TRACE_AGAIN,
    ),
    "unknown_kernels": Words(
        "Kernels of unknown name",
        "{value:.0%} of kernel time is in kernels whose names say nothing",
        "shares of communication and of tensor cores may be too small",
        TRACE_AGAIN,
    ),
    "profiler_overhead": Words(
        "The profiler's own time within the steps",
        "the profiler itself takes {value:.1%} of the steps",
        "the program looks slower, and the device more idle, than without it",
        LESS_DETAIL,
    ),
    "profiler_events": Words(
        "The profiler's own time, estimated from the number of events",
        "recording {events} events took about {value:.0%} of the steps",
        "the program looks slower, and the device more idle, than without it",
        LESS_DETAIL,
    ),
    "warm_up_inside": Words(
        "Slow first steps among the others",
        "the first {steps} step(s) (takes|take) up to {ratio:.1f} times a typical one, which "
        "makes means "
        "{value:.0%} longer",
        "means are longer than of a run that has warmed up",
        LONGER,
    ),
    "device_missing": Words(
        "A trace of a GPU run without the GPU",
        "the run was on a GPU, and its trace shows no work of one",
        "nothing can be said about the device",
        TRACE_AGAIN,
    ),
    "ranks_differ": Words(
        "Traces of several ranks with different numbers of steps",
        "the traces of the ranks hold {fewest} to {most} steps",
        "ranks are compared over what they have in common",
        TRACE_AGAIN,
    ),
    "trace_against_facts": Words(
        "Steps of the trace against the same steps in the facts",
        "a profiled step takes {trace_ms:.1f} ms in the trace and {facts_ms:.1f} ms in the facts",
        "one of the two is of other steps, or wrong",
        AGAIN,
    ),
    "steps_missing": Words(
        "Steps without a record",
        "{missing} of {expected} steps left no record",
        "means and the throughput do not know of them",
        AGAIN,
    ),
    "steps_doubled": Words(
        "Steps recorded twice",
        "{doubled} of {expected} steps were recorded more than once",
        "means count them twice",
        AGAIN,
    ),
    "clock_stepped": Words(
        "The machine's clock was set back",
        "the machine's clock was set back by {seconds:.1f} s before step {step}",
        "steps keep their length; what is laid beside them by time does not fit",
        AGAIN,
    ),
    "log_against_facts": Words(
        "Step times of the text log against the facts",
        "step times of the log differ from the facts by {value:.0%} (median of {lines} lines)",
        "the log is of another run, or one of the two is wrong; the facts are used",
        AGAIN,
    ),
    "ranks_missing": Words(
        "Ranks without facts",
        "facts of {there} of {expected} ranks are there",
        "a slow rank among the others would not be seen",
        "the facts of all ranks in one folder",
    ),
    "end_missing": Words(
        "A run without an end",
        "the run left no end: it was killed, or it still runs",
        "what happened last may be missing",
        AGAIN,
    ),
    "recorder_overhead": Words(
        "The recorder's own time within the steps",
        "recording takes {value:.1%} of a step",
        "phases and stages look longer than they are without it",
        "a run with PROFILING.BUDGET_SHARE at its default",
    ),
}

GRADES: tuple[Grade, ...] = ("B", "C", "D")
REASON = "{source}: {seen}; {effect}"


def reason_of(doubt: Doubt) -> str:
    """The sentence of a doubt: where, what was seen, and what that does to the report."""
    words = WORDS[doubt.check]
    seen = say(words.says, value=doubt.value, **doubt.values)
    return say(REASON, source=doubt.source, seen=seen, effect=words.effect)


def page() -> str:
    """`docs/trust.md`."""
    rows = []
    for about, table in (("trace", TRACE_LIMITS), ("facts", STEP_LIMITS)):
        for check, limits in table.items():
            words = WORDS[check]
            cells = (f"{limits[grade]:g}" if grade in limits else "" for grade in GRADES)
            rows.append(f"| {words.title} | {about} | {' | '.join(cells)} | {words.effect} |")
    return INTRODUCTION + "\n".join(rows) + "\n"


INTRODUCTION = """# How far a report can be trusted

Written by `python -m diagnostics.report.audit_words > docs/trust.md`; a test keeps it current.

Before anything is judged, the inputs are audited. The worst doubt gives the grade, and the grade
caps what a report may say:

| grade | means | verdict | severity of findings about time |
|---|---|---|---|
| A | sound | as measured | as their limits say |
| B | usable | as measured; the reasons stand beside it | as their limits say |
| C | rough | said to be likely only | at most a warning |
| D | no verdict | "cannot judge", with what to record next; exit code 3 | at most a note |

Out of memory, NaN and the end of a run are facts whatever a clock says, and are not capped. A trace
beside the facts of a run has a grade of its own, which caps what rules on traces find; the facts
keep theirs.

Besides the checks below the grade asks: are there enough steps (fewer than 2: D, than 5: C, than
20: B); do phases sum to the step (1 %: C, 5 %: D); is a GPU timed by its own clock (if not: D); is
there more than a text log or a trace (if not: B); what does the recorder say it has lost (B).

From these values on a grade is the best that is left; most are shares, `clock_stepped` is in s.

| check | of | B | C | D | what it does to a report |
|---|---|---|---|---|---|
"""


if __name__ == "__main__":
    sys.stdout.write(page())
