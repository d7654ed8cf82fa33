"""What the tools say of a real, recorded run, from its facts and from its log alone."""

import json
import shutil
from pathlib import Path

import pytest

import analyze_performance

RECORDED = Path(__file__).resolve().parent / "data" / "demo_run"


@pytest.fixture(params=["facts", "log"])
def report(request, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if request.param == "facts":
        path = next((RECORDED / "profiles").glob("train_*"))
    else:
        shutil.copy(next((RECORDED / "outputs" / "logs").glob("*.log")), tmp_path / "run.log")
        path = tmp_path / "run.log"
    assert analyze_performance.main([str(path), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


def test_parts_sum_to_their_whole(report):
    phases = {phase["name"]: phase for phase in report["phases"]}
    stages = {stage["name"]: stage for stage in report["stages"]}
    forward = phases["forward"]["mean_ms"]
    assert sum(p["mean_ms"] for p in phases.values()) == pytest.approx(
        report["step"]["mean_ms"], rel=0.01
    )
    assert sum(s["mean_ms"] for s in stages.values()) == pytest.approx(forward, rel=0.01)
    assert stages["forward.other"]["mean_ms"] < 0.05 * forward
    assert phases["other"]["mean_ms"] < 0.05 * report["step"]["mean_ms"]


def test_slowest_stages_are_those_that_a_sort_of_the_records_finds(report):
    lines = next((RECORDED / "profiles").glob("*/spans.rank0.jsonl")).read_text().splitlines()
    steps = next((RECORDED / "profiles").glob("*/steps.rank0.jsonl")).read_text().splitlines()
    plain = {step["step"] for step in map(json.loads, steps) if not step["tags"]}
    sums: dict[str, float] = {}
    for record in map(json.loads, lines):
        if record["kind"] == "stages" and record["step"] in plain:
            for name, ms in record["ms"].items():
                sums[name] = sums.get(name, 0.0) + ms
    sums.pop("forward.other")
    said = [s for s in report["stages"] if s["name"] != "forward.other"]
    by_report = sorted(said, key=lambda stage: -stage["mean_ms"])[:4]
    assert [s["name"] for s in by_report] == sorted(sums, key=lambda name: -sums[name])[:4]


def test_only_ordinary_steps_count(report):
    assert report["step"]["count"] + report["step"]["excluded"] == 30
    assert 1 <= report["step"]["excluded"] <= 10


def test_a_healthy_run_has_no_warning_though_it_has_not_learnt_enough_yet(report):
    """Thirty steps are few: the output is worse than the blurry input, and on its way up."""
    alarming = [f["rule"] for f in report["findings"] if f["severity"] != "note"]
    assert alarming == []
    assert "NU002" in report["passed"]
    assert "not sharper than its blurry input yet" in report["verdict"]["text"]
    assert report["trust"]["doubts"] == []
    is_whole = report["evidence"] == "facts"
    assert report["trust"]["grade"] == ("A" if is_whole else "B")
    assert len(report["trust"]["passed"]) >= (5 if is_whole else 0)
