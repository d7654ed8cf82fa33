"""`--baseline`, `--checklist` and `--plans` from outside: exit codes, sentences, JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.diagnostics.factories import MadeRun, log_lines, make_step, write_facts, write_lines
from tests.diagnostics.trace_factory import write_trace

ROOT = Path(__file__).resolve().parent.parent
CHECKLIST_KEYS = {"item", "status", "value", "limit"}


@pytest.fixture
def tool(new_tool):
    """Runs the tool in an empty folder; gives exit code, stdout and stderr."""
    return new_tool("analyze_performance.py")


def made(seed, scale=1.0, num_steps=50, run_id=None, **changes):
    generator = np.random.default_rng(seed)
    steps = [make_step(1, 9.0, ("first",))] + [
        make_step(step, scale * generator.normal(1.0, 0.02)) for step in range(2, num_steps + 1)
    ]
    run_id = run_id or f"train_20260102_0304{seed:02d}_aaaa"
    return MadeRun(ranks=[steps], run_id=run_id, **changes)


@pytest.fixture
def before(tmp_path):
    return write_facts(tmp_path / "before", made(1))


@pytest.mark.parametrize(
    ("scale", "fail_on", "code"),
    [
        (1.0, "note", 0),
        (1.07, "note", 1),
        (1.07, "warn", 0),
        (1.15, "warn", 1),
        (1.15, "critical", 0),
        (1.4, "critical", 1),
        (0.7, "note", 0),
        (1.4, "none", 0),
    ],
)
def test_a_regression_fails_a_build_at_its_severity(tool, tmp_path, before, scale, fail_on, code):
    after = write_facts(tmp_path / "after", made(2, scale))
    found, out, err = tool(after, "--baseline", before, "--fail-on", fail_on)
    assert (found, err) == (code, "")
    assert "Compared with the baseline" in out


def test_noise_is_no_regression(tool, tmp_path):
    """Scatter of 40 % hides a change of a few per cent: nothing is claimed, nothing fails."""
    generator = np.random.default_rng(5)

    def noisy(name):
        steps = [make_step(n, generator.uniform(0.4, 1.6)) for n in range(1, 21)]
        return write_facts(tmp_path / name, MadeRun(ranks=[steps]))

    code, out, _ = tool(noisy("b"), "--baseline", noisy("a"), "--fail-on", "note")
    assert code == 0
    assert "No change of the step is shown" in out
    assert "would have been seen" in " ".join(out.split())
    assert "No regression" in out


def test_too_short_a_run_is_exit_code_3(tool, tmp_path, before):
    after = write_facts(tmp_path / "after", made(2, 3.0, num_steps=5))
    code, out, _ = tool(after, "--baseline", before)
    assert code == 3
    text = " ".join(out.split())
    assert "Cannot judge the step: 4 rows in the run; at least 5 are needed" in text
    assert "Whether the run became slower cannot be judged." in text


def test_an_unreadable_baseline_is_one_line_and_the_run_is_reported(tool, tmp_path, before):
    code, out, err = tool(before, "--baseline", tmp_path / "nowhere")
    assert code == 2
    assert "Performance of run" in out
    assert err.count("\n") == 1
    assert "the baseline cannot be compared with" in err
    assert "Traceback" not in err


def test_a_log_may_stand_on_either_side(tool, tmp_path, before):
    log = write_lines(tmp_path / "train.log", log_lines(made(3)))
    for run, baseline in ((log, before), (before, log)):
        code, out, _ = tool(run, "--baseline", baseline)
        assert code == 0
        text = " ".join(out.split())
        assert "No change of the step is shown" in text
        assert "- evidence:" in text


def test_a_trace_may_stand_on_either_side(tool, tmp_path):
    events = []
    for step in range(14):
        start = 1000.0 * step
        events += [
            {"ph": "X", "cat": "user_annotation", "name": f"ProfilerStep#{step}", "pid": 1,
             "tid": 1, "ts": start, "dur": 990.0 + step % 3},
            {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1,
             "ts": start + 10, "dur": 500.0},
        ]  # fmt: skip
    trace = write_trace(tmp_path / "one.pt.trace.json", events)
    code, out, _ = tool(trace, "--baseline", trace)
    assert code in (0, 3)
    assert "No change of the step is shown" in " ".join(out.split())


def test_the_comparison_in_json(tool, tmp_path, before):
    after = write_facts(tmp_path / "after", made(2, 1.15))
    _, out, _ = tool(after, "--baseline", before, "--json", "-")
    page = json.loads(out)["comparison"]
    assert page["step"]["outcome"] == "higher"
    assert page["step"]["low"] < page["step"]["change"] < page["step"]["high"]
    phases = [each["change"] for each in page["changes"] if each["kind"] == "phase"]
    assert sum(phases) == pytest.approx(page["step"]["change"])
    (regression,) = page["regressions"]
    assert regression["severity"] == "warn"
    assert regression["limit"]["value"] == 0.10
    assert regression["limit"]["source"]
    assert page["is_like_with_like"]


def test_without_a_baseline_there_is_no_comparison(tool, before):
    _, out, _ = tool(before, "--json", "-")
    assert json.loads(out)["comparison"] == {}


def test_findings_of_the_baseline_fail_no_build_and_new_ones_do(tool, tmp_path, before):
    waits = [replace(step, phases={**step.phases, "data_wait": 30.0}) for step in made(3).ranks[0]]
    starved = write_facts(tmp_path / "starved", MadeRun(ranks=[waits]))
    options = ("--fail-on", "critical")
    assert tool(starved, *options)[0] == 1
    assert tool(starved, "--baseline", starved, *options)[0] == 0
    code, out, _ = tool(starved, "--baseline", before, *options)
    assert code == 1
    assert "New findings: DL001" in out
    assert "gone: DL001" in tool(before, "--baseline", starved)[1]


def test_a_drop_of_quality_is_a_regression(tool, tmp_path):
    def run(name, seed, psnr):
        folder = write_facts(tmp_path / name, made(seed, validations=(20, 40)))
        spans = folder / "spans.rank0.jsonl"
        spans.write_text(spans.read_text().replace('"psnr_rgb_db": 28.5', f'"psnr_rgb_db": {psnr}'))
        return folder

    code, out, _ = tool(run("b", 2, 28.0), "--baseline", run("a", 1, 28.5), "--fail-on", "warn")
    assert code == 1
    assert "0.50 dB lower" in out


def test_the_checklist_alone(tool, before):
    code, out, _ = tool(before, "--checklist")
    assert code == 0
    assert "Checklist" in out
    assert "Phases of the step" not in out
    assert "[pass] data_time: 1.00 ms, at most 10.0 ms (" in out
    assert "[not measured] GPU use" in out


def test_the_checklist_in_json(tool, before):
    _, out, _ = tool(before, "--json", "-", "--target-samples-per-s", "1000")
    items = {each["item"]: each for each in json.loads(out)["checklist"]}
    assert len(items) == 13
    assert all(set(each) >= CHECKLIST_KEYS for each in items.values())
    rate = items["samples/s reaches its target"]
    assert (rate["status"], rate["limit"]) == ("fail", 1000)
    assert items["loss converges"]["status"] == "pass"


@pytest.mark.parametrize("target", ["0", "-1", "many", "nan", "inf"])
def test_a_target_is_a_number_above_zero(tool, before, target):
    code, out, err = tool(before, f"--target-samples-per-s={target}")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_plans_of_a_run_that_does_not_say_its_configuration(tool, tmp_path):
    folder = write_facts(tmp_path / "own", made(1, meta={"config": {}}))
    code, out, _ = tool(folder, "--plans", tmp_path)
    assert code == 0
    assert "Not evaluated: the run does not state a configuration" in " ".join(out.split())


def test_a_folder_without_plans_is_one_line(tool, tmp_path, before):
    (tmp_path / "empty").mkdir()
    code, out, err = tool(before, "--plans", tmp_path / "empty")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_the_plans_from_the_demo_run(tool, tmp_path):
    run = ROOT / "tests/data/demo_run/profiles"
    code, out, _ = tool(run, "--plans", ROOT / "configs/deblur", "--json", "-")
    assert code == 0
    table = json.loads(out)["forecast"]["plans"]
    assert [row["label"] for row in table["rows"]] == ["baseline", "fast", "lowmem", "opt"]
    steps = {row["label"]: row["step_ms"] for row in table["rows"]}
    assert all(step["low"] < step["mid"] < step["high"] for step in steps.values())
    assert steps["fast"]["mid"] < steps["opt"]["mid"] < steps["baseline"]["mid"]
    assert sum(table["mixture"]) == pytest.approx(1.0)
    assert all("a guess" in row["reasons"][0] for row in table["rows"])
    printed = tool(run, "--plans", ROOT / "configs/deblur")[1]
    assert "Plans on this machine" in printed
    rows = [line.split() for line in printed.splitlines() if line.strip().startswith("baseline ")]
    assert 0 < float(rows[0][4]) < 0.1
