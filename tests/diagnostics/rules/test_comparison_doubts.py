"""What a comparison says of neighbours, of another program, of another network, of itself."""

import io
import json
from dataclasses import replace

import pytest

from diagnostics.analyses.comparison import compare_runs
from diagnostics.analyses.plan_table import PlanTable
from diagnostics.analyses.quality import compute_quality
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_json
from diagnostics.report.terminal import render_terminal
from diagnostics.rules.comparison_doubts import crowded_side, find_doubts, is_time_judged
from diagnostics.rules.regressions import find_regressions
from tests.diagnostics.analyses.test_comparison import noisy_run
from tests.diagnostics.factories import START_UNIX_S, write_facts, write_lines

CORES = 2
MEMORY = {"ram_total_bytes": 10**11, "ram_available_bytes": 6 * 10**10, "ram_percent": 40.0}
PROCESS = {"pid": 9, "role": "main", "name": "python", "rss_bytes": 1}


def sample(at_unix_s, own, foreign):
    """One line of the sampler: so many cores by the run, so many by others."""
    busy = 100.0 * (own + foreign) / CORES
    return json.dumps(
        {
            "schema": 1,
            "kind": "resources",
            "at_unix_s": at_unix_s,
            "host": {**MEMORY, "cpu_percent": busy, "core_percent": [busy] * CORES},
            "processes": [{**PROCESS, "cpu_percent": 100.0 * own}],
            "gpus": None,
            "gpus_absent_reason": "none",
        }
    )


def run(tmp_path, seed, load=None, grown_ms=0.0, kind="cpu", **meta):
    made = noisy_run(seed, grown_ms=grown_ms, meta={"device": {"type": kind}, **meta})
    folder = write_facts(tmp_path / f"run{seed}", made)
    if load is not None:
        lines = [sample(START_UNIX_S + 0.8 + at / 20, *load) for at in range(40)]
        write_lines(folder / "resources.box.jsonl", lines)
    return load_run([folder])


def regressions(before, after):
    found = compare_runs(before, after)
    return [
        each
        for each in find_regressions(found, compute_quality(before), compute_quality(after))
        if each.name == "step"
    ]


QUIET, CROWDED = (1.9, 0.0), (1.0, 1.0)


def test_neighbours_of_this_run_soften_its_longer_step(tmp_path):
    before, after = run(tmp_path, 1, QUIET), run(tmp_path, 2, CROWDED, grown_ms=20.0)
    found = compare_runs(before, after)
    assert crowded_side(found) == "run"
    assert not is_time_judged(found)
    kinds = [each.kind for each in find_doubts(found)]
    assert kinds == ["neighbours", "neighbours"]
    text = " ".join(each.text for each in find_doubts(found))
    assert "kept 1.0 of 2 cores busy during this run, 0.0 of 2 cores during the baseline" in text
    assert "processor time of a step" in text
    (regression,) = regressions(before, after)
    assert regression.severity.label == "note"
    assert "may be all of the reason" in regression.summary
    assert regression.values["share"] > 0.25, "critical by itself"


def test_the_processor_time_of_a_step_is_its_cores_times_its_length(tmp_path):
    found = compare_runs(run(tmp_path, 1, QUIET), run(tmp_path, 2, CROWDED))
    load = found.neighbours
    assert load.before.step_cpu_ms == pytest.approx(1.9 * found.step.before)
    assert load.after.step_cpu_ms == pytest.approx(1.0 * found.step.after)


def test_more_work_than_neighbours_explain_stays_a_regression(tmp_path):
    """Five times the processor time: no neighbour does that."""
    before, after = run(tmp_path, 1, (0.9, 0.0)), run(tmp_path, 2, CROWDED, grown_ms=150.0)
    (regression,) = regressions(before, after)
    assert regression.severity.label == "critical"
    assert "without the neighbours of this run" in regression.summary
    assert is_time_judged(compare_runs(before, after))


def test_a_longer_step_though_the_neighbours_are_gone_is_a_regression(tmp_path):
    before, after = run(tmp_path, 1, CROWDED), run(tmp_path, 2, QUIET, grown_ms=20.0)
    (regression,) = regressions(before, after)
    assert regression.severity.label == "critical"
    assert "neighbours" not in regression.summary
    assert is_time_judged(compare_runs(before, after))


def test_without_the_baselines_neighbours_no_change_means_nothing(tmp_path):
    found = compare_runs(run(tmp_path, 1, CROWDED), run(tmp_path, 2, QUIET))
    assert crowded_side(found) == "baseline"
    assert not is_time_judged(found)
    assert "a loss may hide behind it" in find_doubts(found)[0].text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CROWDED, CROWDED),
        (QUIET, QUIET),
        ((0.5, 0.0), (0.5, 0.5)),  # on cores that nobody else wants
    ],
)
def test_equal_neighbours_are_no_doubt(tmp_path, before, after):
    found = compare_runs(run(tmp_path, 1, before), run(tmp_path, 2, after, grown_ms=20.0))
    assert find_doubts(found) == ()
    assert is_time_judged(found)


def test_on_a_gpu_neighbours_are_told_and_the_step_is_judged(tmp_path):
    before = run(tmp_path, 1, QUIET, kind="cuda")
    after = run(tmp_path, 2, CROWDED, grown_ms=20.0, kind="cuda")
    found = compare_runs(before, after)
    assert crowded_side(found) is None
    assert "loading, launching kernels" in find_doubts(found)[0].text
    assert regressions(before, after)[0].severity.label == "critical"


def test_unknown_neighbours_are_said_of_a_change_alone(tmp_path):
    (doubt,) = find_doubts(compare_runs(run(tmp_path, 1), run(tmp_path, 2, QUIET, grown_ms=20.0)))
    assert "was not recorded in the baseline" in doubt.text
    assert find_doubts(compare_runs(run(tmp_path, 3), run(tmp_path, 4, QUIET))) == ()


def test_a_run_against_itself_is_told(tmp_path):
    one = run(tmp_path, 1, QUIET)
    (doubt,) = find_doubts(compare_runs(one, one))
    assert doubt.kind == "same-run"
    assert find_doubts(compare_runs(one, run(tmp_path, 2, QUIET))) == ()


def test_another_program_is_told(tmp_path):
    ours = run(tmp_path, 1, QUIET)
    other = run(tmp_path, 2, QUIET, trainer="own", name="small-net")
    (doubt,) = find_doubts(compare_runs(other, ours))
    assert doubt.kind == "program"
    assert "a run of small-net, this one of VRT-Spike" in doubt.text


def test_another_network_is_told_and_another_way_to_compute_it_is_not(tmp_path):
    def of(seed, **model):
        return run(tmp_path, seed, QUIET, config={"MODEL": model, "TRAIN": {"BATCH_SIZE": 2}})

    first = of(1, NUM_HEADS=4, ATTENTION="auto")
    (doubt,) = find_doubts(compare_runs(first, of(2, NUM_HEADS=2, ATTENTION="auto")))
    assert "MODEL.NUM_HEADS: 4 -> 2" in doubt.text
    assert find_doubts(compare_runs(first, of(3, NUM_HEADS=4, ATTENTION="math", NEW=1))) == ()


def test_the_report_says_it_beside_the_verdict_and_in_json(tmp_path):
    before, after = run(tmp_path, 1, QUIET), run(tmp_path, 2, CROWDED, grown_ms=20.0)
    page = json.loads(to_json(build_report(after, baseline=before)))["comparison"]
    assert page["is_judged"] is False
    assert page["doubts"][0]["kind"] == "neighbours"
    assert page["neighbours"]["after"]["use"]["foreign_cores"] == pytest.approx(1.0)


def test_plans_predicted_from_a_crowded_run_say_so(tmp_path):
    table = PlanTable(run_id="x", run_step_ms=5.0, mixture=None, rows=(), reasons=())

    def text(load, seed):
        stream = io.StringIO()
        report = replace(build_report(run(tmp_path, seed, load)), plans=table)
        render_terminal(report, stream, 200)
        return stream.getvalue()

    assert "Other programs slowed that run (MA002)" in text(CROWDED, 1)
    assert "Other programs slowed that run" not in text(QUIET, 2)
