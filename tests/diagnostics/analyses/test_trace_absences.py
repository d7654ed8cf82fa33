"""What a trace cannot tell is said, and nothing else is."""

from pathlib import Path

import pytest

from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import (
    EventDict,
    event,
    kernel,
    memory,
    starved_steps,
    write_trace,
)

FRAME = event("python_function", "train.py(1): main", 1000, 300)
WAIT = event("cuda_sync", "Stream Wait Event", 1001, 1, stream=7)


@pytest.mark.parametrize(
    ("events", "absent"),
    [
        ([], {"per_step": "no_event", "device": "no_device"}),
        ([event("cpu_op", "aten::mm", 0, 9)], {"per_step": "no_step", "device": "no_device"}),
        (
            kernel("k", 0, 9, 9, 1),
            {
                "per_step": "no_step",
                "stream_waits": "no_sync_events",
                "device_memory": "no_memory_events",
            },
        ),
        (
            starved_steps(),
            {"stream_waits": "no_sync_events", "device_memory": "no_memory_events"},
        ),
        ([*starved_steps(), WAIT, memory(1002, 10, 20), FRAME], {}),
    ],
)
def test_absences(tmp_path: Path, events: list[EventDict], absent: dict[str, str]) -> None:
    analysis = analyse_trace(parse_trace(write_trace(tmp_path / "t.json", events)))
    found = {each.question: each.reason for each in analysis.absences}
    found.pop("recomputation", None)
    has_frame = any(each["cat"] == "python_function" for each in events)
    assert found == absent | ({} if has_frame else {"source_lines": "no_stacks"})
