"""Records are one line of JSON each, and say missing as null."""

import json
from dataclasses import asdict

import pytest

from vrtspike.profiling.records import (
    EventRecord,
    GpuRecord,
    HostRecord,
    MemoryRecord,
    ProcessRecord,
    ResourceRecord,
    RunRecord,
    SpanRecord,
    StagesRecord,
    StepRecord,
    to_line,
    to_meta_json,
)

RECORDS = [
    StepRecord(
        step=3,
        start_unix_s=1.5,
        micro_batches=2,
        samples=4,
        clock="host",
        host_ms={"forward": 1.25, "step": 2.0},
        tags=("first", "gc"),
        nonfinite={"loss": "nan"},
        memory=MemoryRecord(process_rss_bytes=7),
    ),
    StagesRecord(step=3, phase="forward", clock="device", ms={"flow": 0.5}, calls={"flow": 2}),
    SpanRecord(name="validation", step=3, start_unix_s=2.0, host_ms=9.5, values={"psnr_rgb": None}),
    EventRecord(name="cache", step=3, at_unix_s=2.0, values={"名": "é", "hits": 3}),
    ResourceRecord(
        at_unix_s=3.0,
        host=HostRecord(ram_total_bytes=10, ram_available_bytes=5, ram_percent=50.0),
        processes=(ProcessRecord(pid=1, role="main", name="python", rss_bytes=2),),
        gpus=(GpuRecord(index=0),),
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_a_line_holds_every_field_of_its_record(record):
    line = to_line(record)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    body = json.loads(line)
    held = json.loads(json.dumps(asdict(record)))
    if record.kind == "resources":  # keys of parts without a value would be half of a large file
        held = {name: without_nulls(part) for name, part in held.items()}
    assert body == {"schema": 1, "kind": record.kind, **held}


def without_nulls(part):
    if isinstance(part, list):
        return [without_nulls(each) for each in part]
    if isinstance(part, dict):
        return {name: value for name, value in part.items() if value is not None}
    return part


def test_numbers_that_json_cannot_hold_are_refused():
    record = SpanRecord(name="x", step=1, start_unix_s=0.0, host_ms=float("nan"))
    with pytest.raises(ValueError, match="JSON compliant"):
        to_line(record)
    with pytest.raises(TypeError, match="may not hold a set"):
        to_line(EventRecord(name="x", step=1, at_unix_s=0.0, values={"a": {1}}))


def test_meta_json_holds_the_run():
    run = RunRecord(run_id="r", started_at="s", status="running", config={"DATA": {"ROOT": "x"}})
    body = json.loads(to_meta_json(run))
    assert body["kind"] == "run"
    assert body["config"] == {"DATA": {"ROOT": "x"}}
    assert body["ended_at"] is None
