"""How the run ended comes first in its report, from facts or from the log alone."""

import json

import pytest

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from tests.diagnostics.factories import log_lines, make_run, write_facts, write_lines, write_meta

ERROR = "DATA.ROOT nowhere does not exist; make demo data there"
FAILED = "[error] " + ERROR


def report_of(path):
    return build_report(load_run([path]))


def failed_log(path, steps, *errors, clock="host"):
    lines = log_lines(make_run(num_steps=max(1, steps), clock=clock))[: 1 + 2 * steps]
    return write_lines(path, [*lines, *errors, f"[end] failed | steps={steps} | elapsed=0:00:01"])


def failed_facts(folder, steps, reason=ERROR, **meta):
    run = make_run(num_steps=max(1, steps), meta={"device": {"type": "cpu"}, **meta})
    write_facts(folder, run)
    event = {"schema": 1, "kind": "event", "name": "run_failed", "step": steps, "at_unix_s": 1.0}
    if reason is not None:
        line = json.dumps({**event, "values": {"reason": reason}})
        with (folder / "spans.rank0.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    if not steps:
        (folder / "steps.rank0.jsonl").write_text("")
    write_meta(folder, run, status="failed")
    return folder


def test_an_error_before_the_first_step_is_the_first_fact_of_the_verdict(tmp_path):
    verdict = report_of(failed_log(tmp_path / "train.log", 0, FAILED)).verdict
    assert verdict.text.startswith(f"The run failed before its first step: {ERROR}. Nothing was")
    assert not verdict.judged


def test_facts_alone_tell_the_same_and_give_a_cpu_run_no_advice_about_gpus(tmp_path):
    verdict = report_of(failed_facts(tmp_path / "run", 0)).verdict
    assert verdict.text.startswith(f"The run failed before its first step: {ERROR}.")
    assert "GPU" not in verdict.text


def test_too_few_steps_of_a_cpu_run_give_no_advice_about_gpus(tmp_path):
    run = make_run(num_steps=1, meta={"device": {"type": "cpu"}})
    verdict = report_of(write_facts(tmp_path / "run", run)).verdict
    assert "Cannot judge" in verdict.text
    assert "GPU" not in verdict.text


def test_a_run_that_failed_later_keeps_its_verdict_behind_the_error(tmp_path):
    verdict = report_of(failed_facts(tmp_path / "run", 30)).verdict
    assert verdict.text.startswith(f"The run failed after step 30: {ERROR}. ")
    assert "A step takes" in verdict.text
    assert "Nothing is wrong" not in verdict.text
    assert verdict.judged


@pytest.mark.parametrize(("first", "when"), [(1, "after step 30"), (31, "before its first step")])
def test_a_resumed_run_has_no_step_of_its_own_before_its_first(tmp_path, first, when):
    folder = failed_facts(tmp_path / "run", 30, first_step=first)
    assert f"The run failed {when}" in report_of(folder).verdict.text


def test_a_failure_without_a_line_is_said_and_a_healthy_end_is_not(tmp_path):
    verdict = report_of(failed_facts(tmp_path / "run", 30, reason=None)).verdict
    assert verdict.text.startswith("The run failed after step 30; no error line was left.")
    healthy = report_of(write_facts(tmp_path / "other", make_run(num_steps=30)))
    assert "The run" not in healthy.verdict.text


def test_an_interrupted_run_says_after_which_step(tmp_path):
    lines = [*log_lines(make_run(num_steps=30))[:-1], "[end] interrupted | steps=30"]
    verdict = report_of(write_lines(tmp_path / "train.log", lines)).verdict
    assert verdict.text.startswith("The run was interrupted after step 30. ")


def test_an_error_line_of_a_run_that_finished_is_no_end(tmp_path):
    lines = log_lines(make_run(num_steps=30))
    log = write_lines(tmp_path / "train.log", [*lines[:-1], "worker 3: [error] retry", lines[-1]])
    report = report_of(log)
    assert report.analysis.end.error is None
    assert "retry" not in report.verdict.text


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("[error] GPU memory ran out: CUDA out of memory. Tried to allocate 2 GiB", "GM002"),
        ("[error] host memory ran out: cannot allocate. Lower TRAIN.BATCH_SIZE", "HM003"),
        ("[error] a data loading process died: killed by signal: Killed", "HM003"),
    ],
)
def test_an_error_line_that_tells_of_memory_still_is_that_finding(tmp_path, line, rule):
    log = failed_log(tmp_path / "train.log", 30, line, clock="device" if "GPU" in line else "host")
    verdict = report_of(log).verdict
    assert verdict.rule == rule
    assert verdict.text.startswith("The run failed after step 30: ")
