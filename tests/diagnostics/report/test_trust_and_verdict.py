"""What lowers the grade, and which sentence becomes the verdict."""

import io
from dataclasses import replace

import pytest

from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.load import load_run
from diagnostics.report.build import build_report, digest_thresholds
from diagnostics.report.terminal import render_terminal
from diagnostics.rules.catalogue import CATALOGUE
from diagnostics.rules.kernels.stage_dominates_forward import StageDominatesForward
from diagnostics.rules.measure import measure
from tests.diagnostics.factories import log_lines, make_run, write_lines
from tests.diagnostics.report.conftest import META
from vrtspike.profiling.records import EventRecord, to_line

WITH_EVENT = "spans.rank0.jsonl"


def report_of(folder):
    return build_report(load_run([folder]))


def add_event(folder, name, **values):
    event = EventRecord(name=name, step=12, at_unix_s=1.0, values=values)
    with (folder / WITH_EVENT).open("a", encoding="utf-8") as file:
        file.write(to_line(event))


def test_facts_with_the_right_clock_and_enough_steps_are_sound(cpu_run, starved_run):
    for folder in (cpu_run, starved_run):
        trust = report_of(folder).trust
        assert (trust.grade, trust.reasons) == ("A", ())


@pytest.mark.parametrize(("steps", "grade"), [(1, "D"), (2, "D"), (3, "C"), (6, "B"), (21, "A")])
def test_few_steps_lower_the_grade(new_run, steps, grade):
    assert report_of(new_run(steps=steps)).trust.grade == grade


@pytest.mark.parametrize(("missing", "grade"), [(0.005, "A"), (0.02, "C"), (0.06, "D")])
def test_parts_that_do_not_close_lower_the_grade(new_run, missing, grade):
    stages = {"vrt.stage1": 1.0 - missing}
    assert report_of(new_run(stages=stages)).trust.grade == grade


def test_a_damaged_line_lowers_the_grade(cpu_run):
    with (cpu_run / "steps.rank0.jsonl").open("a") as file:
        file.write('{"schema":1,"kind":"step"}\n')
    trust = report_of(cpu_run).trust
    assert trust.grade == "B"
    assert "could not be read" in trust.reasons[0]


def test_host_clock_on_a_gpu_is_no_basis_for_a_verdict(new_run, gpu_meta):
    report = report_of(new_run(meta=replace(gpu_meta, clock="host")))
    assert report.trust.grade == "D"
    assert not report.verdict.judged
    assert report.verdict.text.startswith("Cannot judge: the times of this GPU run come from")
    assert "TR003" in {finding.rule for finding in report.findings}


def test_a_healthy_run_is_told_where_its_time_goes(cpu_run):
    verdict = report_of(cpu_run).verdict
    assert verdict.rule is None
    assert verdict.judged
    assert "A step takes 940.0 ms (2.13 samples/s); most of it: backward 63.8%." in verdict.text
    assert "Slowest stages of the forward: vrt.stage8 55.0%, vrt.stage1 30.0%" in verdict.text


def test_a_healthy_run_has_no_warning(cpu_run):
    assert {finding.severity.label for finding in report_of(cpu_run).findings} <= {"note"}


@pytest.mark.parametrize(("steps", "claims"), [(4, False), (20, False), (21, True)])
def test_no_health_is_claimed_from_a_handful_of_steps(new_run, steps, claims):
    verdict = report_of(new_run(steps=steps)).verdict
    assert verdict.judged
    assert verdict.text.startswith("Nothing is wrong") == claims
    assert (f"{steps - 1} ordinary steps are too few" in verdict.text) == (not claims)


@pytest.mark.parametrize(("input_psnr", "claims"), [(28.0, True), (28.01, False)])
def test_no_health_is_claimed_of_an_output_below_its_input(cpu_run, input_psnr, claims):
    path = cpu_run / "spans.rank0.jsonl"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"input_psnr_rgb_db":27.0', f'"input_psnr_rgb_db":{input_psnr}'))
    verdict = report_of(cpu_run).verdict
    assert verdict.text.startswith("Nothing is wrong") == claims
    assert ("28.00 against 28.01 dB PSNR after step 40" in verdict.text) == (not claims)


def test_the_costliest_cause_is_the_verdict(starved_run):
    verdict = report_of(starved_run).verdict
    assert verdict.rule == "DL001"
    assert "64.1% of each step (600.0 of 936.0 ms)" in verdict.text


@pytest.mark.parametrize(
    ("name", "values", "rule"),
    [
        ("not_finite", {"bad_step": 12, "what": "loss is nan", "tensor": "vrt.stage3"}, "NU001"),
        ("oom", {"text": "CUDA out of memory. Tried to allocate 15.82 GiB"}, "GM002"),
        ("out_of_memory", {"where": "device", "reason": "15.82 GiB"}, "GM002"),
        ("out_of_memory", {"where": "host", "reason": "no CUDA in this story"}, "HM003"),
    ],
)
def test_what_stops_a_run_is_the_verdict_before_any_cost(starved_run, name, values, rule):
    add_event(starved_run, name, **values)
    assert report_of(starved_run).verdict.rule == rule


def test_a_run_that_died_in_its_first_step_has_a_verdict_all_the_same(new_run):
    folder = new_run(steps=1)
    add_event(folder, "not_finite", bad_step=2, what="loss is nan", tensor="blur")
    report = report_of(folder)
    assert report.trust.grade == "D"
    assert report.verdict.rule == "NU001"
    assert report.verdict.judged


def test_a_float16_overflow_is_no_nan(starved_run):
    add_event(starved_run, "amp_overflow", overflowed_step=12, count=1)
    assert "NU001" in report_of(starved_run).passed


def test_the_report_does_not_depend_on_the_order_of_the_lines(starved_run):
    before = report_of(starved_run)
    for path in starved_run.glob("*.jsonl"):
        lines = path.read_text("utf-8").splitlines(keepends=True)
        path.write_text("".join(reversed(lines)), "utf-8")
    after = report_of(starved_run)
    assert after.findings == before.findings
    assert after.phases == before.phases
    assert after.slowest == before.slowest


def test_another_limit_is_another_hash():
    assert digest_thresholds(CATALOGUE) != digest_thresholds(CATALOGUE[1:])


def test_phases_of_a_text_log_sum_to_its_step_though_step_lines_leave_steps_out(tmp_path):
    """Steps 1-3 ran under the profiler: twice as slow, in stage lines, but not in step lines."""
    phases = "data_wait=4.0ms h2d=0.0ms forward={}ms loss=0.0ms backward=60.0ms optimizer=5.0ms"
    lines = ["[run] id=train_20260102_030405_ab12 schema=1 facts=gone clock=host"]
    for step in range(1, 31):
        forward = 60.0 if step < 4 else 30.0
        lines.append(
            f"stages {step}/30 | clock=host | {phases.format(forward)} other=1.0ms | "
            f"vrt.stage1={forward}ms forward.other=0.0ms"
        )
        if step % 10 == 0:
            lines.append(
                f"step {step}/30 | loss=0.1 charb=0.1 lr=1e-4 | 10.0 samples/s | "
                "data_time=4.0ms step_time=100.0ms"
            )
    log = tmp_path / "train_20260102_030405.log"
    log.write_text("\n".join(lines) + "\n", "utf-8")
    report = report_of(log)
    assert report.analysis.breakdown.step.mean_ms > 101.0
    assert sum(phase.share_of_step for phase in report.phases) == pytest.approx(1.0)
    assert report.trust.grade == "B"
    assert report.verdict.judged
    assert "TR001" not in {finding.rule for finding in report.findings}


@pytest.mark.parametrize(
    ("name", "values", "grade", "words"),
    [
        ("lines_lost", {"lines": 7}, "B", "7 lines of rank 0's facts could not be written"),
        (
            "device_times_lost",
            {"steps": 2, "reason": "CUDA error"},
            "B",
            "the device times of the last 2 steps of rank 0 are lost (CUDA error)",
        ),
        ("resource_sampler_died", {"exit_code": -9}, "B", "sampler died (exit code -9)"),
        (
            "profile_missing",
            {"reason": "no trace: disk full"},
            "A",
            "the profiler's trace of rank 0 is missing (disk full)",
        ),
    ],
)
def test_what_the_recorder_lost_is_among_the_reasons(cpu_run, name, values, grade, words):
    add_event(cpu_run, name, **values)
    trust = report_of(cpu_run).trust
    assert trust.grade == grade
    assert words in trust.reasons[0]


def test_lost_lines_of_rank_0_lower_the_trust(new_run):
    trust = report_of(new_run(meta=replace(META, lost_lines=3))).trust
    assert trust.grade == "B"
    assert trust.reasons == ("3 lines of rank 0's facts could not be written",)


def test_a_trace_beside_the_facts_is_named_and_not_asked_for_again(cpu_run):
    assert "--profile" in advice_of(cpu_run)
    trace = cpu_run / "box_1.2.pt.trace.json.gz"
    trace.write_bytes(b"")
    assert f"the trace {trace} shows" in advice_of(cpu_run)
    stream = io.StringIO()
    render_terminal(report_of(cpu_run), stream, 400)
    assert f"trace: {trace}" in stream.getvalue()


def advice_of(folder):
    """What KN001 says of a heavy stage that no switch makes cheaper."""
    measured = replace(
        measure(load_run([folder]), analyse_run(load_run([folder]))),
        stage_ms={"flow": 90.0, "forward.other": 10.0},
        phase_ms={"forward": 100.0},
    )
    return StageDominatesForward().check(measured).advice[0].text


def test_tags_of_a_log_are_counted_by_step(tmp_path):
    lines = log_lines(make_run(num_steps=30), every=10)
    tags = [f"[tags] step {step} | profiled" for step in range(14, 19)]
    log = write_lines(tmp_path / "train.log", [*lines[:-1], *tags, lines[-1]])
    breakdown = report_of(log).analysis.breakdown
    assert breakdown.excluded_by_tag == {"profiled": 5, "first": 1}
    assert breakdown.excluded == 6
    assert breakdown.count == 24
