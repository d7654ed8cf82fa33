"""How a run came to its loading processes: from the event in its facts to the report."""

import io
import json

import pytest

from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.language import speaking
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_json
from diagnostics.report.terminal import render_terminal
from tests.diagnostics.factories import make_run, write_facts

RULE = (
    "TOTAL_WORKERS auto: 2 for each rank: a sample takes 20 ms to make (8 timed), a step of 1 "
    "takes 15 ms (run train_1); the guide's rule would give 4"
)
VALUES = {
    "per_rank": 2,
    "worker_rule": RULE,
    "needed_per_rank": 2,
    "guide_per_rank": 4,
    "limit_per_rank": 3,
    "samples_timed": 8,
    "samples_per_step": 1,
    "sample_ms": 20.0,
    "sample_cpu_ms": 19.0,
    "slowest_sample_ms": 31.0,
    "timing_ms": 180.0,
    "step_ms": 15.0,
    "reason": None,
    "part_read_ms": 4.0,
    "part_decode_ms": 16.0,
}


def run_with(folder, **changes):
    made = make_run()
    facts = write_facts(folder / made.run_id, made)
    event = {"schema": 1, "kind": "event", "name": "worker_plan", "step": 0, "at_unix_s": 1.0}
    with (facts / "spans.rank0.jsonl").open("a") as file:
        file.write(json.dumps({**event, "values": {**VALUES, **changes}}) + "\n")
    return load_run([facts])


def test_the_event_becomes_a_plan(tmp_path):
    plan = analyse_run(run_with(tmp_path)).worker_plan
    assert (plan.per_rank, plan.needed_per_rank, plan.guide_per_rank) == (2, 2, 4)
    assert plan.parts == (("decode", 16.0), ("read", 4.0))
    assert sum(plan.part_ms.values()) == plan.sample_ms
    assert plan.worker_rule == RULE
    assert plan.reason is None


def test_a_run_that_did_not_say_has_none(tmp_path):
    made = make_run()
    assert analyse_run(load_run([write_facts(tmp_path / made.run_id, made)])).worker_plan is None


@pytest.mark.parametrize("wrong", [{"sample_ms": "x"}, {"part_read_ms": "x"}, {"worker_rule": 3}])
def test_values_of_another_kind_are_unknown(tmp_path, wrong):
    plan = analyse_run(run_with(tmp_path, **wrong)).worker_plan
    assert plan.per_rank == 2
    assert None in (plan.sample_ms, plan.worker_rule) or "read" not in plan.part_ms


def test_terminal_and_json_show_it_in_both_languages(tmp_path):
    report = build_report(run_with(tmp_path))
    shown = {}
    for name in ("en", "zh"):
        out = io.StringIO()
        with speaking(name):
            render_terminal(report, out, width=400)
            page = json.loads(to_json(report))
        shown[name] = out.getvalue()
    assert RULE + "." in shown["en"]
    assert "decode 16.0 ms, read files 4.00 ms" in shown["en"]
    assert "指南的规则会给出 4 个" in shown["zh"]
    assert "生成一个样本用 20.0 ms" in shown["zh"]
    assert page["worker_plan"]["sample_ms"] == 20.0
    assert page["worker_plan"]["part_ms"] == {"decode": 16.0, "read": 4.0}
