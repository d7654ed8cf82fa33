"""What every rule must have: a code, a name, documents, thresholds with reason and source."""

import graphlib
import importlib
import re
import string
from pathlib import Path

import pytest

from diagnostics.rules import machine
from diagnostics.rules.catalogue import (
    CATALOGUE,
    DOCUMENTED,
    MACHINE_PATTERNS,
    find_documented,
    find_rule,
)
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.rule import HEADINGS

FAMILIES = {"DL", "HM", "GM", "GP", "KN", "CM", "NU", "CF", "TR", "MA"}
each_rule = pytest.mark.parametrize("rule", CATALOGUE, ids=lambda rule: rule.code)
each_documented = pytest.mark.parametrize("rule", DOCUMENTED, ids=lambda rule: rule.code)


def test_codes_and_names_are_unique():
    for listed in (CATALOGUE, DOCUMENTED):
        codes = [rule.code for rule in listed]
        assert codes == sorted(set(codes))
        assert len({rule.name for rule in listed}) == len(listed)
    both = sorted([*CATALOGUE, *MACHINE_PATTERNS], key=lambda each: each.code)
    assert list(DOCUMENTED) == both


def test_every_pattern_of_the_memory_tool_is_documented():
    """Found where they are made, so that a new one cannot be forgotten in the list."""
    folder = Path(machine.__file__).parent
    made = set()
    for path in folder.glob("*.py"):
        module = importlib.import_module(f"{machine.__name__}.{path.stem}")
        for value in vars(module).values():
            held = value.values() if isinstance(value, dict) else [value]
            made |= {each.code for each in held if isinstance(each, Pattern)}
    assert {"HM101", "HM104", "GM101", "CF102"} <= made
    assert made == {pattern.code for pattern in MACHINE_PATTERNS}


@each_documented
def test_a_code_is_a_family_and_three_digits(rule):
    assert re.fullmatch(r"[A-Z]{2}\d{3}", rule.code)
    assert rule.code[:2] in FAMILIES


@each_documented
def test_a_name_states_the_pattern_and_not_the_fix(rule):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", rule.name)
    assert not set(rule.name.split("-")) & {"use", "enable", "no", "disallow", "should", "raise"}


@each_documented
def test_docs_have_their_headings_in_order_and_text_below_each(rule):
    sections = re.split(r"^## (.+)$", rule.docs.strip(), flags=re.MULTILINE)[1:]
    assert tuple(sections[::2]) == HEADINGS
    assert all(len(text.split()) >= 5 for text in sections[1::2])


@each_documented
def test_every_threshold_says_why_and_where_from(rule):
    thresholds = rule.thresholds()
    assert thresholds
    for threshold in thresholds.values():
        assert threshold.unit
        assert threshold.reason
        assert threshold.source


@each_documented
def test_what_a_rule_explains_exists(rule):
    assert all(find_rule(code) is not None for code in rule.explains)


def test_causes_and_symptoms_form_no_circle():
    graph = {rule.code: set(rule.explains) for rule in CATALOGUE}
    assert list(graphlib.TopologicalSorter(graph).static_order())


@each_documented
def test_the_summary_is_a_sentence_with_numbers(rule):
    fields = [field for _, field, _, _ in string.Formatter().parse(rule.summary) if field]
    assert fields
    assert rule.summary.endswith(".")


@each_documented
def test_text_is_plain_ascii_and_names_no_label_of_a_specification(rule):
    texts = [rule.docs, rule.summary, *(t.source + t.reason for t in rule.thresholds().values())]
    for text in texts:
        assert text.isascii()
        assert not re.search(r"\b[CD]\d+\b", text)


@each_rule
def test_nothing_measured_is_not_a_finding_apart_from_too_few_steps(rule):
    outcome = rule.check(Measurements())
    if rule.code == "TR002":
        assert outcome.severity.label == "critical"
    else:
        assert hasattr(outcome, "reason"), "missing data must be said, not passed over"


@each_rule
def test_a_rule_is_found_by_code_and_by_name(rule):
    assert find_rule(rule.code.lower()) is rule
    assert find_rule(rule.name.upper()) is rule


@each_documented
def test_what_is_documented_is_found_by_code_and_by_name(rule):
    assert find_documented(f" {rule.code.lower()}") is rule
    assert find_documented(rule.name.upper()) is rule


def test_an_unknown_rule_is_none():
    assert find_rule("XX999") is None
    assert find_documented("XX999") is None
    assert find_rule("HM101") is None, "not a rule about a run"
