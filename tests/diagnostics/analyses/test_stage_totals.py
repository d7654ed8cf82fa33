"""Forward, backward and recomputation of a stage side by side; where the memory has its peak."""

import pytest

from diagnostics.analyses.device_memory import compute_device_memory
from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_mapping
from diagnostics.report.markdown import to_markdown
from diagnostics.report.terminal import render_terminal
from vrtspike.profiling.records import (
    MemoryRecord,
    RunRecord,
    StagesRecord,
    StepRecord,
    to_line,
    to_meta_json,
)

GIB = 1024**3
PHASES = {"data_wait": 1, "h2d": 1, "forward": 100, "loss": 1, "backward": 300, "optimizer": 9}
FORWARD = {"flow": 60.0, "vrt.stage3": 30.0, "forward.other": 10.0}
BACKWARD = {"flow": 50.0, "vrt.stage3": 200.0, "backward.other": 20.0}
RECOMPUTE = {"vrt.stage3": 29.0, "recompute.other": 1.0}
PEAKS = {"forward": {"flow": 3 * GIB, "vrt.stage3": 4 * GIB}, "backward": {"vrt.stage3": 7 * GIB}}


def records(step, *, directions, sampled):
    host = {**PHASES, "other": 3.0}
    host["step"] = sum(host.values())
    memory = MemoryRecord(
        process_rss_bytes=GIB,
        device_allocated_bytes=2 * GIB,
        device_reserved_bytes=5 * GIB,
        device_peak_allocated_bytes=7 * GIB if sampled else 6 * GIB,
        device_alloc_retries=2,
        device_inactive_split_bytes=GIB,
        device_peak_phase="backward" if sampled else None,
        device_peak_stage="vrt.stage3" if sampled else None,
    )
    yield StepRecord(
        step=step,
        start_unix_s=1.7e9 + step,
        micro_batches=1,
        samples=2,
        clock="device",
        host_ms=host,
        device_ms=host,
        tags=("first",) if step == 1 else (),
        memory=memory,
    )
    for phase, ms in directions.items():
        yield StagesRecord(
            step=step,
            phase=phase,
            clock="device",
            ms=ms,
            calls=dict.fromkeys(("flow", "vrt.stage3"), 1),
            peak_allocated_bytes=PEAKS.get(phase) if sampled else None,
        )


ALL = {"forward": FORWARD, "backward": BACKWARD, "recompute": RECOMPUTE}


def write(folder, directions=ALL):
    folder.mkdir()
    meta = RunRecord(
        run_id="train_20260102_030405_ab12",
        started_at="2026-01-02T03:04:05+00:00",
        status="finished",
        clock="device",
        device={"type": "cuda", "name": "Test GPU", "memory_total_bytes": 24 * GIB},
        stages=("flow", "vrt.stage3"),
    )
    (folder / "meta.json").write_text(to_meta_json(meta), "utf-8")
    lines = {"step": [], "stages": []}
    for step in range(1, 31):
        for record in records(step, directions=directions, sampled=step % 10 == 2):
            lines[record.kind].append(to_line(record))
    (folder / "steps.rank0.jsonl").write_text("".join(lines["step"]), "utf-8")
    (folder / "spans.rank0.jsonl").write_text("".join(lines["stages"]), "utf-8")
    return load_run([folder])


def test_stages_are_ranked_by_all_that_they_cost(tmp_path):
    found = analyse_run(write(tmp_path / "a"))
    stage3, flow, outside = found.stage_totals
    assert (stage3.name, stage3.forward_ms, stage3.backward_ms, stage3.recompute_ms) == (
        "vrt.stage3",
        pytest.approx(30),
        pytest.approx(200),
        pytest.approx(29),
    )
    assert (flow.name, flow.recompute_ms) == ("flow", None)
    assert outside.total_ms == pytest.approx(10 + 20 + 1)
    assert sum(each.total_ms for each in found.stage_totals) == pytest.approx(100 + 300)
    assert sum(each.share for each in found.stage_totals) == pytest.approx(1)
    assert [part.name for part in found.ranking.stages] == ["vrt.stage3", "flow"]
    assert found.ranking.stages[0].share == pytest.approx(259 / 400)
    assert found.ranking.stages_whole == "forward and backward"
    closures = {each.name: each for each in found.breakdown.closures}
    assert closures["stages of the backward"].holds
    assert closures["stages of the backward"].whole_ms == pytest.approx(300)


def test_a_backward_that_does_not_close_is_seen(tmp_path):
    short = ALL | {"backward": BACKWARD | {"vrt.stage3": 150.0}}
    found = analyse_run(write(tmp_path / "a", short)).breakdown.closures
    gap = {each.name: each.difference_share for each in found}
    assert gap["stages of the backward"] == pytest.approx(50 / 300)
    assert gap["stages of the forward"] == pytest.approx(0)


def test_facts_without_a_backward_are_ranked_by_the_forward(tmp_path):
    found = analyse_run(write(tmp_path / "a", {"forward": FORWARD}))
    assert found.stage_totals == ()
    assert found.ranking.stages[0].name == "flow"
    assert found.ranking.stages_whole == "forward"


def test_the_peak_has_a_place(tmp_path):
    (memory,) = compute_device_memory(write(tmp_path / "a"))
    assert (memory.rank, memory.num_sampled, memory.peak_bytes) == (0, 3, 7 * GIB)
    assert memory.peak_place == "vrt.stage3 backward"
    assert (memory.unused_bytes, memory.inactive_split_bytes) == (3 * GIB, GIB)
    assert memory.alloc_retries == 2
    assert [(s.name, s.phase) for s in memory.stages] == [
        ("vrt.stage3", "backward"),
        ("vrt.stage3", "forward"),
        ("flow", "forward"),
    ]


def test_reports_show_directions_side_by_side_and_the_peak(tmp_path):
    report = build_report(write(tmp_path / "a"))
    with (tmp_path / "out.txt").open("w+", encoding="utf-8") as stream:
        render_terminal(report, stream, width=80, color=False)
        stream.seek(0)
        text = stream.read()
    assert max(map(len, text.splitlines())) <= 80
    (header,) = [line for line in text.splitlines() if "recompute" in line and "share" in line]
    assert header.split()[:4] == ["stage", "forward", "backward", "recompute"]
    row = next(line for line in text.splitlines() if line.strip().startswith("vrt.stage3 "))
    assert row.split()[1:4] == ["30.0", "200.0", "29.0"]
    flat = " ".join(text.split())
    assert "GPU of rank 0: peak 7.00 GiB in vrt.stage3 backward (3 sampled steps)" in flat
    assert "up to 3.00 GiB reserved beside what tensors held" in flat
    page = to_mapping(report)
    assert page["device_memory"][0]["peak_place"] == "vrt.stage3 backward"
    assert page["stage_totals"][0]["name"] == "vrt.stage3"
    kinds = {(each["name"], each["phase"]) for each in page["stages"]}
    assert ("vrt.stage3", "recompute") in kinds
    assert "| vrt.stage3 | 30.0 | 200.0 | 29.0 |" in to_markdown(report)
