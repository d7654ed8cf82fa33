"""The critical path: every moment of the window once, on the device or on one thread."""

import os
from pathlib import Path

import pytest

from diagnostics.analyses import trace_critical_path, trace_dependencies
from diagnostics.analyses.trace_analysis import analyse_trace
from diagnostics.analyses.trace_critical_path import CriticalPath
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import (
    EventDict,
    event,
    kernel,
    profiler_step,
    starved_steps,
    work,
    write_trace,
)

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")
AUTOGRAD_THREAD = 200


def path_of(tmp_path: Path, events: list[EventDict]) -> CriticalPath:
    found = analyse_trace(parse_trace(write_trace(tmp_path / "t.json", events))).critical_path
    assert found is not None
    assert sum(part.ns for part in found.parts) == found.window_ns
    return found


def kinds(found: CriticalPath) -> dict[str, int]:
    return {part.kind: part.ns for part in found.parts}


def test_a_device_that_is_always_busy_is_the_path(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 20),
        *(each for n in range(4) for each in kernel("k", 1 + 4 * n, 10 + 100 * n, 100, n)),
    ]
    found = path_of(tmp_path, events)

    assert kinds(found)["compute"] == 400_000
    assert found.device_share == pytest.approx(400 / 410, abs=0.02)
    assert found.window_ns == 410_000


def test_a_program_that_never_waits_for_the_device_is_the_path(tmp_path: Path) -> None:
    found = path_of(tmp_path, starved_steps(4))

    # Only the last kernel, which nothing follows, could be on the device's side.
    assert kinds(found)["data_loading"] == 240_000
    assert found.device_share < 0.1


def test_a_call_that_waits_hands_over_to_the_device(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 200),
        event("cpu_op", "aten::mm", 0, 10, **{"External id": 1}),
        *kernel("k", 5, 10, 100, 1, **{"External id": 1}),
        event("cuda_runtime", "cudaStreamSynchronize", 50, 65),
        event("cpu_op", "aten::add", 120, 80),
    ]
    found = path_of(tmp_path, events)

    assert kinds(found) == {
        "compute": 100_000, "launching": 87_000, "synchronisation": 5_000, "queued": 3_000,
        "python": 5_000,
    }  # fmt: skip
    assert [(each.name, each.device_ns, each.host_ns) for each in found.operators[:2]] == [
        ("aten::mm", 100_000, 7_000),
        ("aten::add", 0, 80_000),
    ]


def test_a_wait_that_found_the_device_idle_is_the_programs_own(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 200),
        *kernel("k", 5, 10, 20, 1),
        event("cuda_runtime", "cudaDeviceSynchronize", 50, 65),
    ]

    assert "compute" not in kinds(path_of(tmp_path, events))


def test_the_backward_hands_over_to_the_forward_and_back(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 1000),
        event("cpu_op", "aten::conv2d", 0, 300),
        event("cpu_op", "aten::linear", 310, 90),
        event(
            "cpu_op", "autograd::engine::evaluate_function: X", 410, 390, tid=AUTOGRAD_THREAD,
            **{"Sequence number": 1},
        ),
        event("cpu_op", "aten::add_", 820, 180),
    ]  # fmt: skip
    found = path_of(tmp_path, events)

    assert {each.name: each.host_ns for each in found.operators} == {
        "aten::conv2d": 300_000,
        "aten::linear": 90_000,
        "autograd::engine::evaluate_function: X": 390_000,
        "aten::add_": 180_000,
    }


def streams(told: bool) -> list[EventDict]:
    """A kernel that waits for a copy of another stream, which takes 100 us."""
    copy = work(
        "gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", (10, 5), (20, 100), 1, stream=8,
        call="cudaMemcpyAsync",
    )  # fmt: skip
    waiting = event("cuda_runtime", "cudaStreamWaitEvent", 22, 1, correlation=3)
    marking = event("cuda_runtime", "cudaEventRecord", 18, 1, correlation=2)
    sync = event(
        "cuda_sync", "Stream Wait Event", 22, 1, tid=7, correlation=3, stream=7,
        wait_on_stream=8, wait_on_cuda_event_record_corr_id=2,
    )  # fmt: skip
    # Told, the kernel begins long after the copy has ended: nobody would guess that it waited.
    start = 160 if told else 121
    return [
        profiler_step(1, 0, 30),
        *copy, marking, waiting,
        *kernel("k", 25, start, 40, 4),
        *([sync] if told else []),
    ]  # fmt: skip


@pytest.mark.parametrize("told", [False, True])
def test_work_that_waits_for_another_stream(tmp_path: Path, told: bool) -> None:
    found = path_of(tmp_path, streams(told))

    assert found.knows_stream_waits is told
    assert kinds(found)["device_copy"] == 100_000
    assert kinds(found)["compute"] == 40_000


def test_late_work_without_a_reason_is_queued(tmp_path: Path) -> None:
    events = [each for each in streams(told=True) if each["cat"] != "cuda_sync"]

    found = path_of(tmp_path, events)
    assert "device_copy" not in kinds(found)
    assert kinds(found)["queued"] == 133_000


def test_work_without_length_or_launch_ends_the_walk(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 100),
        *work("kernel", "k", (50, 0), (50, 0), 1),
        *work("kernel", "k", (50, 0), (50, 50), 2)[1:],
        event("cuda_runtime", "cudaStreamSynchronize", 50, 0),
        event("cuda_runtime", "cudaStreamSynchronize", 50, 50),
    ]

    assert path_of(tmp_path, events).num_hops < 100


@pytest.mark.skipif(REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA names no folder")
def test_every_real_path_covers_its_window() -> None:
    shares = {}
    for file in sorted(Path(REFERENCE or "", "traces").rglob("*.json.gz")):
        found = analyse_trace(parse_trace(file)).critical_path
        assert found is not None
        assert sum(part.ns for part in found.parts) == found.window_ns
        shares[file.parent.name] = {part.kind: part.share for part in found.parts}
    # One GPU that is 97.7 % busy sets the pace; a loader without workers takes its whole time.
    assert shares["ns_resolution"]["compute"] == pytest.approx(0.968, abs=0.01)
    assert shares["resnet50_num_workers_0"]["data_loading"] == pytest.approx(0.390, abs=0.005)
    assert shares["resnet50_num_workers_4"]["data_loading"] < 0.02


def test_of_too_much_work_the_last_part_is_the_window_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = path_of(tmp_path, starved_steps(8))
    for module in (trace_critical_path, trace_dependencies):
        monkeypatch.setattr(module, "MAX_WORK", 3)
    last = path_of(tmp_path, starved_steps(8))

    assert not whole.is_shortened
    assert last.is_shortened
    assert 200_000 <= last.window_ns <= 300_000  # three kernels, one in each 100 us
    assert whole.window_ns == 800_000
