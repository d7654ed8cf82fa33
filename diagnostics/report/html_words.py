"""Every word of the HTML report that is not a sentence of the terminal's: constant templates."""

from collections.abc import Mapping

# The page.
TITLE = "Performance of run {run}"
TITLE_NAMED = "Performance of run {run} ({name})"
MEMORY_TITLE = "Memory of this machine"
UNNAMED_RUN = "(without a name)"
SKIP = "Skip to the verdict"
CONTENTS = "Contents"
BACK = "Back to the top"
MADE_BY = "Made by {program} {version}, thresholds {sha} (version {thresholds})."
MADE_BY_TOOL = "Made by {program} {version}."
TO_DO = "What to do, in this order"
READ_ON = "How to read this page: docs/reading-a-report.md."
VERDICT = "Verdict"
TRUST = "Trust"
TRUST_GRADE = "{grade}: {meaning}"
TRUST_MEANING = {
    "A": "sound",
    "B": "usable",
    "C": "rough",
    "D": "no verdict",
}
NO_DOUBT = "No reason to doubt the measurement."
KEY_FIGURES = "Key figures"

# Key figures.
STEP_MEAN = "mean step"
STEP_P95 = "95 % of steps take at most"
RATE = "samples per second"
WAIT = "of the step waits for data"
GPU_BUSY = "of the window the device computes"
STEPS_USED = "steps used"
STEPS_USED_OF = "{used} ({left_out} left out)"
MORE = "More"

# Findings.
FINDINGS = "Findings"
NO_FINDING = "No rule found anything."
NOTHING_TO_DO = "Nothing has to change."
SEVERITY = {"critical": "critical", "warn": "warning", "note": "note"}
COST_TIME = "up to {ms} ms of each step"
COST_SIZE = "{size}"
EVIDENCE = "Evidence"
MEASURE = "measure"
VALUE = "value"
LIMIT = "limit"
SOURCE = "read from"
ADVICE = "What to do"
CHANGE_FROM = "{key}: from {current} to {proposed}"
GAIN = "Predicted to save {low} to {high} ms of each step."
GAIN_LIKELY = "Predicted to save {low} to {high} ms of each step, likely {mid}."
CHECK = "To check:"
SYMPTOM = "{name}: {summary}"
EXPLAINS = "Symptoms that this explains"

# Rules that did not fire.
NOT_FIRED = "Rules that did not fire"
PASSED = "looked, all well: {passed}"
NOT_EVALUATED = "Not evaluated"
WHY_NOT = "why not"
RULES = "rules"
RECORD_NEXT = "to know it"
EXPLAIN = "`python analyze_performance.py --explain RULE` says what a rule measures."

# Charts.
STEPS_CHART = "Time line of the steps"
STEPS_CHART_SAYS = (
    "Steps {first} to {last} ({clock} clock), in {buckets} stretches: from {low} to {high} ms."
)
STEPS_CLIPPED = (
    "{count} stretch(es) (reaches|reach) beyond the upper edge (triangles); the slowest takes "
    "{ms} ms."
)
STEPS_EACH = "The line is the mean, the band reaches from the fastest to the slowest step."
MEAN = "mean"
SPREAD = "fastest to slowest"
TAGGED = "with a tag (left out of the means)"
TAGGED_AT = "step {step}: {ms} ms, {tags}"
TAGGED_MANY = "{count} steps with tags ({tags}), the slowest step {step}: {ms} ms"
PHASES_CHART = "Phases over the course of the run"
PHASES_CHART_SAYS = "Mean time of each phase per step, stacked, steps {first} to {last}."
MEMORY_CHART = "Memory over time"
LOAD_CHART = "Use of the machine over time"
COURSE_SAYS = "{low} to {high}, at the end {last}."
COURSE_SAYS_LIMIT = "{low} to {high}, at the end {last}; limit {limit}."
COURSES_LEFT_OUT = "{count} more are not drawn."
COURSE_KIND = {
    "device memory": "device memory",
    "host memory": "host memory",
    "CPU use": "CPU",
    "GPU use": "GPU busy",
    "GPU power": "power",
    "multiprocessors active": "multiprocessors active",
}
LANES_CHART = "Ranks over the course of the run"
LANES_OWN = "What a step takes each rank by itself, without its waits for others ({clock} clock)."
LANES_WHOLE = "What a step takes each rank ({clock} clock)."
LANES_SCALE = "The stronger the colour, the slower: from {low} to {high} ms."
LANES_LEFT_OUT = "{count} faster rank(s) (is|are) left out."
PARTITION_CHART = "Partition of the window"
PARTITION_SAYS = (
    "Each moment counts for the first that covers it, in this order; the parts sum to the window."
)
AS_TABLE = "The same as a table"
NAMED = "{name}. {says}"
ONE_VALUE = "{where}: {value}"
SPREAD_VALUE = "{where}: {value} ({low} - {high})"
PHASE_VALUE = "{name} {ms} ms"
IN_MS = "{ms} ms"
COURSE_TITLE = "{what}, {owner}"
SECONDS = "{time} s"
MINUTES = "{time} min"
HOURS = "{time} h"
STEP = "step"
STEPS_RANGE = "steps {first} to {last}"
STEP_ONE = "step {first}"
RANK = "rank"
PART = "part"
SHARE = "share"
MEAN_MS = "mean ms"
MIN_MS = "fastest ms"
MAX_MS = "slowest ms"
TAGS = "tags"
WHEN = "time"
LOWEST = "lowest"
AVERAGE = "mean"
HIGHEST = "highest"


def word(words: Mapping[str, str], key: str) -> str:
    """The word for a key; a key without one stands for itself."""
    return words.get(key, key)
