"""The JSON report: its keys are a contract."""

import json
import math

import pytest

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import finite, to_json

KEYS = {
    "": "schema_version inputs trust run verdict step phases stages breakdown partition "
    "idle_causes ranks resources findings not_evaluated checklist comparison forecast "
    "recorder_cost thresholds",
    "trust": "grade reasons",
    "run": "id world_size device config",
    "verdict": "rule text",
    "step": "count excluded mean_ms median_ms p95_ms samples_per_s",
    "phases": "name clock count mean_ms median_ms p95_ms share_of_step",
    "stages": "name phase clock count mean_ms median_ms p95_ms share_of_forward priority",
    "breakdown": "window_ms clock compute_share comm_share comm_exposed_share copy_exposed_share "
    "idle_share gpu_busy_share data_wait_share data_wait_exposed_share",
    "ranks": "rank step_mean_ms data_wait_share lateness_ms",
    "resources": "host gpus processes",
    "findings": "rule name severity cost_ms_per_step cost_bytes evidence advice explains",
    "findings.evidence": "metric value unit limit source",
    "findings.advice": "text config_change predicted_gain_ms verify",
    "findings.advice.predicted_gain_ms": "low mid high",
    "findings.advice.config_change": "key current proposed",
    "not_evaluated": "rule reason record_next",
    "thresholds": "version sha256",
}


def load(folder):
    return json.loads(to_json(build_report(load_run([folder]))))


def found(page, path):
    """Every object at a dotted path; lists are entered."""
    nodes = [page]
    for key in filter(None, path.split(".")):
        nodes = [node[key] for node in nodes]
        nodes = [
            item
            for node in nodes
            for item in (node if isinstance(node, list) else [node])
            if item is not None
        ]
    return nodes


@pytest.mark.parametrize("path", KEYS)
def test_fixed_keys(starved_run, path):
    objects = found(load(starved_run), path)
    assert objects
    for each in objects:
        assert set(KEYS[path].split()) <= set(each)


@pytest.mark.parametrize("name", ["cpu_run", "starved_run"])
def test_parts_sum_to_their_whole(name, request):
    page = load(request.getfixturevalue(name))
    phases = {phase["name"]: phase["mean_ms"] for phase in page["phases"]}
    stages = [stage["mean_ms"] for stage in page["stages"] if stage["phase"] == "forward"]
    assert sum(phases.values()) == pytest.approx(page["step"]["mean_ms"], rel=0.01)
    assert sum(stages) == pytest.approx(phases["forward"], rel=0.01)
    assert sum(phase["share_of_step"] for phase in page["phases"]) == pytest.approx(1.0)


def test_figures_are_the_run_s(starved_run):
    page = load(starved_run)
    assert page["run"]["device"] == "cuda"
    assert page["run"]["config"]["DATALOADER"]["TOTAL_WORKERS"] == 1
    assert page["step"]["count"] == 40
    assert page["step"]["excluded"] == 1
    assert page["breakdown"]["window_ms"] == pytest.approx(40 * 936.0)
    assert page["breakdown"]["data_wait_exposed_share"] == pytest.approx(600 / 936)
    assert page["loader"]["bottleneck"] == "decode"
    assert page["loader"]["queue"]["empty_share"] == 1.0
    assert page["loader"]["copies"] == {
        "num_steps": 40,
        "bytes_per_step": 24 << 20,
        "pinned_share": 0.0,
    }
    assert page["findings"][0]["rule"] == page["verdict"]["rule"] == "DL001"
    assert page["findings"][0]["severity"] == "critical"
    assert page["findings"][0]["cost_ms_per_step"] == pytest.approx(600.0)
    assert page["findings"][0]["explains"] == ["GP001"]
    assert page["findings"][0]["advice"][0]["config_change"] == {
        "key": "DATALOADER.TOTAL_WORKERS",
        "current": 1,
        "proposed": 3,  # as many as keep up, by what making a batch takes
    }


def test_keys_that_need_a_device_are_null_without_one(cpu_run):
    breakdown = load(cpu_run)["breakdown"]
    needs_a_device = "compute_share comm_share comm_exposed_share copy_exposed_share idle_share"
    assert {breakdown[key] for key in needs_a_device.split()} == {None}
    assert breakdown["gpu_busy_share"] is None
    assert breakdown["data_wait_share"] == breakdown["data_wait_exposed_share"]


def test_what_cannot_be_read_next_to_a_run_is_in_the_inputs(cpu_run, tmp_path):
    broken = tmp_path / "missing.log"
    page = json.loads(to_json(build_report(load_run([cpu_run, broken]))))
    assert [each["status"] for each in page["inputs"]] == ["read", "failed"]
    assert page["trust"]["grade"] == "B"


def test_json_never_holds_nan():
    value = {"a": [math.nan, math.inf, 1.0, (2.0, "x")], 3: None}
    assert finite(value) == {"a": [None, None, 1.0, [2.0, "x"]], "3": None}


def test_equal_limits_have_equal_hashes(cpu_run, starved_run):
    assert load(cpu_run)["thresholds"] == load(starved_run)["thresholds"]
    assert len(load(cpu_run)["thresholds"]["sha256"]) == 64
