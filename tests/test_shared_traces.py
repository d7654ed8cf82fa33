"""What the report says of other people's traces; docs/worked-examples.md argues each finding."""

import os
import re
from functools import cache
from pathlib import Path

import pytest

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.rules.finding import Severity

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")
ARGUED = Path(__file__).resolve().parents[1] / "docs/worked-examples.md"
NEEDS_TRACES = pytest.mark.skipif(REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA is not set")
pytestmark = NEEDS_TRACES

# Folder or file, grade, warnings and worse in their order, notes about the run itself.
EXPECTED = {
    "resnet50_num_workers_0": ("B", ["DL201", "KN201"], {"KN205", "GP208"}),
    "resnet50_num_workers_4": ("B", ["KN201"], {"GP204", "KN205", "GP208"}),
    "ns_resolution": ("B", ["KN201"], set()),
    "nccl": ("C", ["GP204"], {"GP205", "CM201"}),
    "two_ranks": ("C", ["GP201", "CM201"], {"GP205"}),
    "edge_cases/rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz": ("B", ["CM201"], set()),
    "edge_cases/rank-70.Mar_25_20_48_12.2861.pt.trace.json.gz": ("D", ["TR002"], set()),
    "edge_cases/distributed_info_not_found.json.gz": ("D", ["TR002"], set()),
    "edge_cases/rank_not_found.json.gz": ("D", ["TR002"], set()),
    "edge_cases/rank_non_gpu.json.gz": ("D", ["TR002"], set()),
}
each_trace = pytest.mark.parametrize("name", EXPECTED)


@cache
def report_of(name):
    path = Path(REFERENCE) / "traces" / name
    return build_report(load_run([path] if path.is_file() else sorted(path.glob("*.json.gz"))))


@each_trace
def test_grade_and_findings_are_the_argued_ones(name):
    grade, alarming, notes = EXPECTED[name]
    report = report_of(name)
    assert report.trust.grade == grade
    causes = [each for each in report.causes if each.severity >= Severity.WARN]
    assert [each.rule for each in causes] == alarming
    said = {each.rule for each in report.causes if each.severity is Severity.NOTE}
    assert said - {"TR002"} == notes


@each_trace
def test_each_finding_is_argued(name):
    text = ARGUED.read_text("utf-8")
    section = text.split(f"## {name}\n", 1)[1].split("\n## ", 1)[0]
    found = {each.rule for each in report_of(name).findings} - {"TR002"}  # of all of them
    assert found <= set(re.findall(r"\b[A-Z]{2}\d{3}\b", section))


def test_the_loader_comes_first_where_it_is_at_fault_and_is_no_finding_where_it_is_not():
    starved, fed = report_of("resnet50_num_workers_0"), report_of("resnet50_num_workers_4")
    assert starved.findings[0].rule.startswith("DL")
    assert starved.verdict.rule == starved.findings[0].rule
    assert not [each.rule for each in fed.findings if each.rule.startswith("DL")]


@each_trace
def test_a_trace_without_enough_evidence_is_not_judged(name):
    report = report_of(name)
    assert report.verdict.judged == (report.trust.grade != "D")
    if not report.verdict.judged:
        assert "Cannot judge" in report.verdict.text
        assert "Record next: a trace of at least 5 steps" in report.verdict.text
        assert "`" in report.verdict.text, "the command"
