"""A report from traces alone: the same findings and keys as from a recorded run."""

import io
import json
import os
from pathlib import Path

import pytest

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_json, to_mapping
from diagnostics.report.model import Report
from diagnostics.report.terminal import render_terminal
from diagnostics.report.terminal_trace_details import NAME_CHARACTERS, short
from tests.diagnostics.trace_factory import EventDict, event, kernel, starved_steps, write_trace

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")
needs_reference = pytest.mark.skipif(
    REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA names no folder of reference traces"
)


def report_of(*paths: Path) -> Report:
    return build_report(load_run(list(paths)))


def shown(report: Report) -> str:
    out = io.StringIO()
    render_terminal(report, out, 80)
    return out.getvalue()


def test_a_starved_trace_is_a_data_loading_finding(tmp_path: Path) -> None:
    report = report_of(write_trace(tmp_path / "t.json", starved_steps(6)))
    mapping = to_mapping(report)

    assert report.causes[0].rule == "DL001"
    assert report.causes[0].evidence[0].source == "t.json"
    assert mapping["breakdown"]["idle_share"] == pytest.approx(0.7)
    assert mapping["breakdown"]["window_ms"] == pytest.approx(0.6)
    assert sum(part["share"] for part in mapping["partition"]) == pytest.approx(1)
    idle = sum(cause["ms_per_step"] for cause in mapping["idle_causes"]) * 6
    assert idle == pytest.approx(0.7 * 0.6)
    assert mapping["traces"][0]["kernels"]["count"] == 6
    assert "waits for data" in shown(report)


def test_two_ranks_are_told_apart_and_weighted(tmp_path: Path) -> None:
    paths = [
        write_trace(
            tmp_path / f"{rank}.json",
            starved_steps(4),
            distributedInfo={"rank": rank, "world_size": 2},
        )
        for rank in (0, 1)
    ]
    mapping = to_mapping(report_of(*paths))

    assert [each["rank"] for each in mapping["ranks"]] == [0, 1]
    assert mapping["run"]["world_size"] == 2
    assert mapping["breakdown"]["window_ms"] == pytest.approx(0.8)
    assert mapping["breakdown"]["gpu_busy_share"] == pytest.approx(0.3)


def test_phases_of_a_step_sum_to_it_by_both_clocks(tmp_path: Path) -> None:
    report = report_of(write_trace(tmp_path / "t.json", starved_steps(6)))

    assert {closure.clock for closure in report.analysis.breakdown.closures} == {"device", "host"}
    assert all(closure.difference_share < 1e-9 for closure in report.analysis.breakdown.closures)


def test_the_step_of_a_trace_is_the_one_that_its_phases_sum_to(tmp_path: Path) -> None:
    late = [
        *starved_steps(3),
        *kernel("late", 1290, 1300, 50, 900),  # launched in the last step, done after it
    ]
    breakdown = report_of(write_trace(tmp_path / "t.json", late)).analysis.breakdown

    assert breakdown.step is not None
    phases = sum(each.mean_ms for each in breakdown.phases if each.clock == "device")
    assert breakdown.step.mean_ms == pytest.approx(phases)
    assert breakdown.step.mean_ms == pytest.approx(0.35 / 3)


def test_names_from_a_trace_reach_no_terminal_unescaped(tmp_path: Path) -> None:
    evil: list[EventDict] = [
        {**each, "name": "\x1b[31m<script>alert(1)</script>[bold]"}
        if each["cat"] == "kernel"
        else each
        for each in starved_steps(3)
    ]
    report = report_of(write_trace(tmp_path / "t.json", evil))

    assert "\x1b" not in shown(report)
    assert "[bold]" in shown(report)
    json.loads(to_json(report))


def test_a_trace_without_a_step_cannot_be_judged(tmp_path: Path) -> None:
    report = report_of(write_trace(tmp_path / "t.json", [event("cpu_op", "aten::mm", 1, 2)]))

    assert not report.verdict.judged
    assert "Nothing in the trace marks a step" in shown(report)
    assert to_mapping(report)["breakdown"]["window"] == "whole trace"
    assert to_mapping(report)["breakdown"]["window_ms"] == pytest.approx(0.002)
    assert to_mapping(report)["step"]["count"] == 0


@needs_reference
def test_workers_decide_about_data_loading() -> None:
    folders = (Path(REFERENCE or "", "traces", f"resnet50_num_workers_{n}") for n in (0, 4))
    without, with_workers = (report_of(next(each.glob("*.json.gz"))) for each in folders)

    assert without.causes[0].rule.startswith("DL")
    assert "num_workers 0" in without.verdict.text
    assert not [each.rule for each in with_workers.findings if each.rule.startswith("DL")]


@needs_reference
def test_every_real_trace_makes_a_report() -> None:
    for path in sorted(Path(REFERENCE or "", "traces").rglob("*.json.gz")):
        report = report_of(path)
        json.loads(to_json(report))
        assert path.name[:20] in shown(report).replace("\n", "")


def test_nodes_of_the_backward_that_fit_no_column_stay_apart() -> None:
    node = "autograd::engine::evaluate_function: "
    names = [short(node + each) for each in ("ConvolutionBackward0", "MmBackward0")]
    assert names == ["ConvolutionBackward0", "MmBackward0"]
    assert len(short(node + "x" * 99)) == NAME_CHARACTERS
    assert short("aten::mm") == "aten::mm"
