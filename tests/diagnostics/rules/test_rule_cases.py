"""Runs tests/rule_cases/*.yml: each rule below, at and above its limits, healthy, and without data.

A case gives fields of `Measurements` (of traces below `in_trace`) and expects a severity, `pass` or
`not_evaluated`. `changes` are the configuration changes it must advise, all of them; `says` and
`reason` are parts of the summary and of the reason; `cost_ms` and `explains` are exact.
"""

from pathlib import Path

import pytest
import yaml

from diagnostics.rules.catalogue import CATALOGUE, find_rule
from diagnostics.rules.finding import Finding, NotEvaluated
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.trace_measurements import TraceMeasurements

FOLDER = Path(__file__).resolve().parents[2] / "rule_cases"
KEYS = {"given", "expect", "says", "reason", "changes", "advises", "cost_ms", "cost_bytes", "gain"}


def read_cases():
    for path in sorted(FOLDER.glob("*.yml")):
        page = yaml.safe_load(path.read_text("utf-8"))
        for name, case in page["cases"].items():
            given = merged(page.get("base", {}), case.get("given", {}))
            yield pytest.param(page["rule"], given, case, id=f"{page['rule']}-{name}")


def merged(base, own):
    """Fields of `in_trace` are added to those of the base; `in_trace: null` is no trace."""
    given = {**base, **own}
    trace = given.get("in_trace")
    if trace is not None:
        given["in_trace"] = TraceMeasurements(**{**base.get("in_trace", {}), **trace})
    return given


def outcome_word(outcome):
    if outcome is None:
        return "pass"
    return outcome.severity.label if isinstance(outcome, Finding) else "not_evaluated"


@pytest.mark.parametrize(("code", "given", "case"), list(read_cases()))
def test_case(code, given, case):
    assert set(case) <= KEYS
    outcome = find_rule(code).check(Measurements(**given))
    assert outcome_word(outcome) == case["expect"]
    if isinstance(outcome, NotEvaluated):
        assert case.get("reason", "") in outcome.reason
    if isinstance(outcome, Finding):
        check_finding(outcome, case)


OF_THE_MACHINE = ("OMP_NUM_THREADS", "DATALOADER.TOTAL_WORKERS", "DataLoader.num_workers")
"""What is known without the configuration: threads of PyTorch, loading processes that ran."""


@pytest.mark.parametrize(("code", "given", "case"), list(read_cases()))
def test_no_value_is_proposed_without_the_present_one(code, given, case):
    measured = Measurements(**given)
    outcome = find_rule(code).check(measured)
    for item in outcome.advice if isinstance(outcome, Finding) else ():
        change = item.config_change
        if change is None or change.key in OF_THE_MACHINE:
            continue
        assert change.proposed != change.current
        section, _, name = change.key.rpartition(".")
        if section == "DataLoader":
            assert change.current == measured.loader[name]
        else:
            assert name in measured.setting(section), "the switch is not known to be there"
            assert as_list(change.current) == measured.setting(change.key)


def check_finding(finding, case):
    assert case.get("says", "") in finding.summary
    assert finding.evidence
    assert finding.advice
    text = " ".join(advice.text for advice in finding.advice)
    assert case.get("advises", "") in text
    changes = {
        item.config_change.key: item.config_change.proposed
        for item in finding.advice
        if item.config_change
    }
    if "changes" in case:
        assert {key: as_list(value) for key, value in changes.items()} == case["changes"]
    if "cost_ms" in case:
        expected = case["cost_ms"]
        assert finding.cost_ms_per_step == (expected and pytest.approx(expected))
    if "cost_bytes" in case:
        assert finding.cost_bytes == case["cost_bytes"]
    if "gain" in case:
        gain = finding.advice[0].predicted_gain
        assert [gain.low_ms, gain.mid_ms, gain.high_ms] == pytest.approx(case["gain"])


def as_list(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.code)
def test_every_rule_has_cases_on_both_sides(rule):
    page = yaml.safe_load((FOLDER / f"{rule.code}.yml").read_text("utf-8"))
    assert page["rule"] == rule.code
    expected = {case["expect"] for case in page["cases"].values()}
    assert expected & {"note", "warn", "critical"}
    assert "pass" in expected
    assert "healthy" in page["cases"]
    assert page["cases"]["healthy"]["expect"] == "pass"
    assert "missing" in page["cases"] or rule.code == "TR002"
    graded = sum(name.startswith(("at_", "above_")) for name in page["cases"])
    assert graded >= 1
    assert any(name.startswith("below_") for name in page["cases"])


def test_no_case_is_without_a_rule():
    assert {path.stem for path in FOLDER.glob("*.yml")} == {rule.code for rule in CATALOGUE}
