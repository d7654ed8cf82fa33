"""From a trace with memory instants to the finding, the line and the keys of the report."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from diagnostics.report.json_report import to_mapping
from diagnostics.report.model import Report
from diagnostics.rules.catalogue import CATALOGUE
from diagnostics.rules.evaluate import evaluate
from diagnostics.rules.measurements import Measurements
from tests.diagnostics.report.test_trace_report import report_of, shown
from tests.diagnostics.trace_factory import EventDict, memory, starved_steps, write_trace

GIB = 1 << 30


def traced(folder: Path, instants: list[EventDict], **fields: Any) -> Report:
    events = [*starved_steps(6), *instants]
    devices = [{"id": 0, "name": "A GPU", "totalGlobalMem": 10 * GIB}]
    return report_of(write_trace(folder / "t.json", events, deviceProperties=devices, **fields))


def outcome_of(report: Report) -> dict[str, Any]:
    mapping = to_mapping(report)
    (found,) = [
        each
        for each in (*mapping["findings"], *mapping["not_evaluated"])
        if each["rule"] == "GM201"
    ]
    assert isinstance(found, dict)
    return found


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_full_gpu_is_found_shown_and_written(tmp_path: Path) -> None:
    report = traced(tmp_path, [memory(1010, 8 * GIB, 9 * GIB), memory(1020, GIB, 9.5 * GIB)])
    found = outcome_of(report)

    assert found["severity"] == "warn"
    assert found["evidence"][0]["value"] == pytest.approx(0.95)
    assert found["evidence"][0]["source"] == "t.json"
    assert "torch.utils.checkpoint" in found["advice"][0]["text"]
    text = flat(shown(report))
    assert (
        "Memory of device 0: PyTorch reserved up to 9.50 GiB, tensors held up to 8.00 GiB; "
        "95.0% of 10.0 GiB." in text
    )
    (written,) = to_mapping(report)["traces"][0]["memory"]
    assert written["share"] == pytest.approx(0.95)
    assert (written["peak_allocated_bytes"], written["peak_reserved_bytes"]) == (
        8 * GIB, 9.5 * GIB,
    )  # fmt: skip
    assert [point["at_ms"] for point in written["course"]] == pytest.approx([0.01, 0.02])


def test_a_gpu_with_room_is_no_finding_and_shown(tmp_path: Path) -> None:
    report = traced(tmp_path, [memory(1010, 2 * GIB, 3 * GIB)])
    mapping = to_mapping(report)
    assert "GM201" not in {
        each["rule"] for each in (*mapping["findings"], *mapping["not_evaluated"])
    }
    assert "30.0% of 10.0 GiB" in flat(shown(report))


def test_a_trace_without_instants_says_what_to_record(tmp_path: Path) -> None:
    report = traced(tmp_path, [])
    assert "profile_memory=True" in outcome_of(report)["record_next"]
    assert "Memory of device" not in shown(report)
    assert to_mapping(report)["traces"][0]["memory"] == []


def test_more_than_the_gpu_has_is_no_finding(tmp_path: Path) -> None:
    report = traced(tmp_path, [memory(1010, GIB, 11 * GIB)])
    assert "one of the two is wrong" in outcome_of(report)["reason"]
    assert "what share of the device that is" in flat(shown(report))


def test_memory_of_a_cpu_is_of_no_gpu(tmp_path: Path) -> None:
    """By a trace that PyTorch wrote, with the properties of a tiny GPU put beside it."""
    layer = torch.nn.Linear(64, 64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as tracer:
        for _ in range(4):
            layer(torch.randn(8, 64)).sum().backward()
            tracer.step()
    path = tmp_path / "t.json"
    tracer.export_chrome_trace(str(path))
    whole = path.read_text()
    tiny = (
        '"deviceProperties": [{"id": -1, "totalGlobalMem": 4096}, {"id": 0, "totalGlobalMem": 9}]'
    )
    assert '"deviceProperties": []' in whole
    path.write_text(whole.replace('"deviceProperties": []', tiny, 1))

    report = report_of(path)

    assert "severity" not in outcome_of(report)
    assert "Memory of device" not in shown(report)
    (written,) = to_mapping(report)["traces"][0]["memory"]
    assert (written["is_device"], written["share"], written["total_bytes"]) == (False, None, None)
    assert written["peak_allocated_bytes"] > 0


@pytest.mark.parametrize("by_facts", [9.95 * GIB, 5 * GIB])
def test_facts_and_trace_never_speak_of_one_gpu_twice(by_facts: float) -> None:
    measured = Measurements(
        device="cuda",
        traced_device=0,
        traced_reserved_bytes=int(9.9 * GIB),
        traced_total_bytes=10 * GIB,
        device_memory_peak_bytes=int(by_facts),
        device_memory_total_bytes=10 * GIB,
    )
    found = {each.rule for each in evaluate(CATALOGUE, measured).findings}
    assert "GM201" not in found
    assert ("GM001" in found) is (by_facts > 9 * GIB)


def test_running_out_of_memory_folds_it() -> None:
    measured = Measurements(
        device="cuda",
        traced_device=0,
        traced_reserved_bytes=int(9.9 * GIB),
        traced_total_bytes=10 * GIB,
        num_device_oom=1,
    )
    evaluation = evaluate(CATALOGUE, measured)
    assert "GM201" in {each.rule for each in evaluation.findings}
    assert "GM201" not in {each.rule for each in evaluation.causes}
