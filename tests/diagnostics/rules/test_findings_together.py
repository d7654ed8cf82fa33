"""What findings say side by side: ceilings, folding by cost, no contradiction, no blind value."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from diagnostics.rules.capping import cap_findings
from diagnostics.rules.catalogue import CATALOGUE, find_rule
from diagnostics.rules.contradictions import without_contradictions
from diagnostics.rules.evaluate import evaluate
from diagnostics.rules.finding import DEVICE_MEMORY, Advice, ConfigChange, Finding, Severity
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import Rule
from diagnostics.rules.trace_measurements import TraceMeasurements

CASES = Path(__file__).resolve().parents[2] / "rule_cases"
STEP = Measurements(step_ms=100.0)


class Stub(Rule):
    docs = ""
    summary = "Found."

    def __init__(self, code, *, reads_trace=False, **finding):
        self.code = code  # type: ignore[misc]
        self.reads_trace = reads_trace  # type: ignore[misc]
        self.answer = finding

    def check(self, measured):
        answer = {"severity": Severity.WARN, **self.answer}
        return Finding(rule=self.code, name=self.code.lower(), summary="Found.", **answer)


def finding(code, severity=Severity.WARN, **fields):
    return Finding(rule=code, name=code.lower(), summary="Found.", severity=severity, **fields)


def causes(*rules, measured=STEP):
    return [each.rule for each in evaluate(rules, measured).causes]


@pytest.mark.parametrize(
    ("cost_ms", "without_ms", "speedup"),
    [(20.0, 80.0, 1.25), (100.0, 0.0, None), (150.0, 0.0, None)],
)
def test_a_finding_says_how_fast_a_step_could_be_without_it(cost_ms, without_ms, speedup):
    (found,) = evaluate([Stub("KN901", cost_ms_per_step=cost_ms)], STEP).findings
    assert (found.ceiling.without_ms, found.ceiling.speedup) == (without_ms, speedup)


def test_the_ceiling_of_a_trace_s_finding_is_that_of_the_trace_s_step():
    measured = replace(STEP, in_trace=TraceMeasurements(num_steps=3, step_ms=40.0))
    rule = Stub("GP901", reads_trace=True, cost_ms_per_step=20.0)
    assert evaluate([rule], measured).findings[0].ceiling.speedup == 2.0


def test_what_lies_between_the_steps_leaves_them_their_time():
    rule = Stub("CF902", cost_ms_per_step=300.0)
    rule.costs_outside_steps = True  # type: ignore[misc]
    (found,) = evaluate([rule], STEP).findings
    assert (found.ceiling.without_ms, found.ceiling.speedup) == (100.0, 4.0)


@pytest.mark.parametrize("cost_ms", [None, 0.0])
def test_no_ceiling_without_a_cost(cost_ms):
    assert evaluate([Stub("KN901", cost_ms_per_step=cost_ms)], STEP).findings[0].ceiling is None


@pytest.mark.parametrize(("cause_ms", "folded"), [(9.9, False), (10.0, True), (None, True)])
def test_a_small_cause_is_no_excuse_for_a_large_symptom(cause_ms, folded):
    cause = Stub("DL901", cost_ms_per_step=cause_ms, explains=("GP901",))
    symptom = Stub("GP901", cost_ms_per_step=20.0)
    assert causes(cause, symptom) == (["DL901"] if folded else ["GP901", "DL901"])


def test_causes_explain_a_symptom_together():
    rules = [
        Stub("DL901", cost_ms_per_step=6.0, explains=("GP901",)),
        Stub("GP902", cost_ms_per_step=5.0, explains=("GP901",)),
        Stub("GP901", cost_ms_per_step=20.0),
    ]
    assert causes(*rules) == ["DL901", "GP902"]


def test_advice_that_takes_memory_yields_to_advice_that_frees_it():
    more = Advice(text="a larger batch", towards=(DEVICE_MEMORY, "more"))
    less = Advice(text="a smaller batch", towards=(DEVICE_MEMORY, "less"))
    other = Advice(text="compile")
    found = without_contradictions(
        [
            finding("GP901", cost_ms_per_step=90.0, advice=(other, more)),
            finding("KN901", cost_ms_per_step=80.0, advice=(more,)),
            finding("GM901", cost_bytes=1, advice=(less,)),
        ]
    )
    said = {each.rule: [item.text for item in each.advice] for each in found}
    assert said["GP901"] == ["compile"]
    assert said["KN901"] == ["The advice of GM901 goes first: less device memory."]
    assert said["GM901"] == ["a smaller batch"]


def test_both_directions_of_the_same_wish_are_kept_without_a_contradiction():
    more = Advice(text="a larger batch", towards=(DEVICE_MEMORY, "more"))
    found = without_contradictions([finding(code, advice=(more,)) for code in ("GP901", "KN901")])
    assert all(each.advice == (more,) for each in found)


@pytest.mark.parametrize(
    ("grade", "expected"),
    [
        ("A", Severity.CRITICAL),
        ("B", Severity.CRITICAL),
        ("C", Severity.WARN),
        ("D", Severity.NOTE),
    ],
)
def test_a_grade_caps_what_is_said_about_time(grade, expected):
    (capped,) = cap_findings([finding("DL001", Severity.CRITICAL)], grade, "A", set())
    assert capped.severity == expected
    assert capped.capped_from == (None if expected is Severity.CRITICAL else Severity.CRITICAL)


@pytest.mark.parametrize("code", ["NU001", "GM002", "HM003", "TR003"])
def test_facts_that_need_no_clock_are_not_capped(code):
    before = finding(code, Severity.CRITICAL)
    assert cap_findings([before], "D", "D", set()) == (before,)


def test_a_trace_s_findings_are_capped_by_the_trace_and_the_run_s_by_the_run():
    both = [finding("GP201", Severity.CRITICAL), finding("DL001", Severity.CRITICAL)]
    capped = cap_findings(both, "A", "D", {"GP201"})
    assert [each.severity for each in capped] == [Severity.NOTE, Severity.CRITICAL]


def given_cases():
    for path in sorted(CASES.glob("*.yml")):
        page = yaml.safe_load(path.read_text("utf-8"))
        for name, case in page["cases"].items():
            given = {**page.get("base", {}), **case.get("given", {})}
            trace = given.get("in_trace")
            if trace is not None:
                trace = {**page.get("base", {}).get("in_trace", {}), **trace}
                given["in_trace"] = TraceMeasurements(**trace)
            yield pytest.param(page["rule"], given, id=f"{page['rule']}-{name}")


def is_null_by_choice(fields, dotted_key):
    """Whether the configuration itself says null, as for a crop of the whole frame."""
    node = fields.get("config", {})
    for key in dotted_key.split("."):
        if not isinstance(node, dict) or key not in node:
            return False
        node = node[key]
    return node is None


@pytest.mark.parametrize(("code", "given"), list(given_cases()))
def test_no_rule_proposes_a_value_without_the_present_one(code, given):
    """As in its case; without the configuration; and without that of the loader either."""
    bare = {**given, "config": {}}
    unknown = {**bare, "num_workers": None, "loader": {}}
    for fields in (given, bare, unknown):
        outcome = find_rule(code).check(Measurements(**fields))
        if isinstance(outcome, Finding):
            for change in filter(None, (item.config_change for item in outcome.advice)):
                assert isinstance(change, ConfigChange)
                known = change.current is not None or is_null_by_choice(fields, change.key)
                assert known, f"{change.key} is proposed blindly"
                assert change.current != change.proposed


def test_every_rule_on_traces_says_so():
    of_trace = {rule.code for rule in CATALOGUE if rule.reads_trace}
    assert {"GP201", "KN201", "CM201"} <= of_trace
    assert all(code[2] == "2" for code in of_trace)
