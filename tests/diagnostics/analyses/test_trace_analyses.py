"""Decompositions, idle causes and kernels: by hand on small traces, by peers on real ones."""

import json
import os
from pathlib import Path

import pytest

from diagnostics.analyses.trace_breakdown import break_down
from diagnostics.analyses.trace_idle import find_idle_causes
from diagnostics.analyses.trace_kernels import use_of_kernels
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers.trace_file import parse_trace
from diagnostics.trace import Trace
from tests.diagnostics.trace_factory import (
    EventDict,
    event,
    kernel,
    profiler_step,
    starved_steps,
    write_trace,
)

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")
needs_reference = pytest.mark.skipif(
    REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA names no folder of reference traces"
)


def read(tmp_path: Path, events: list[EventDict]) -> Trace:
    return parse_trace(write_trace(tmp_path / "t.json", events))


def test_a_starved_step_by_hand(tmp_path: Path) -> None:
    trace = read(tmp_path, starved_steps(4))
    steps = find_steps(trace)
    found = break_down(trace, steps)

    assert steps.mark == "ProfilerStep"
    assert steps.numbers.tolist() == [1, 2, 3, 4]
    assert found is not None
    assert found.window_ns == 400_000
    assert found.gpu_busy_share == pytest.approx(0.30)
    assert found.idle_share == pytest.approx(0.70)
    assert found.data_loader_share == pytest.approx(0.60)
    assert found.data_loader_exposed_share == pytest.approx(0.60)
    causes = {each.cause: each.ns for each in find_idle_causes(trace, steps)}
    assert causes == {
        "data_loading": 240_000,
        "launching": 16_000,
        "python": 16_000,
        "queued": 8_000,
    }


def test_a_step_reaches_to_the_end_of_the_work_it_launched(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 100),
        *kernel("k", 90, 95, 55, 1),
        profiler_step(2, 100, 100),
        *kernel("k", 110, 160, 20, 2),
    ]
    steps = find_steps(read(tmp_path, events))

    assert steps.begin_ns.tolist() == [0, 150_000]
    assert steps.end_ns.tolist() == [150_000, 200_000]
    assert steps.window.total_ns == 200_000


def test_which_event_the_file_begins_with_does_not_matter(tmp_path: Path) -> None:
    events = [profiler_step(1, 0, 100), *kernel("k", 90, 95, 55, 1)]
    forward, backward = (find_steps(read(tmp_path, listed)) for listed in (events, events[::-1]))

    assert (backward.end_ns - backward.begin_ns).tolist() == [150_000]
    assert (forward.end_ns - forward.begin_ns).tolist() == [150_000]


def test_communication_hidden_behind_compute_is_not_exposed(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 100),
        *kernel("sgemm", 1, 10, 40, 1),
        *kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 2, 30, 40, 2),
    ]
    trace = read(tmp_path, events)
    found = break_down(trace, find_steps(trace))

    assert found is not None
    assert found.communication_share == pytest.approx(0.40)
    assert found.communication_exposed_share == pytest.approx(0.20)
    assert found.compute_share == pytest.approx(0.40)
    total = (found.compute_share or 0) + (found.communication_exposed_share or 0)
    assert total + (found.copy_exposed_share or 0) + (found.idle_share or 0) == pytest.approx(1)


def test_steps_without_marks_are_found_by_the_optimizer_or_the_loader(tmp_path: Path) -> None:
    optimizer = [
        event("user_annotation", "Optimizer.step#AdamW.step", 100 * n + 90, 10) for n in range(4)
    ]
    loader = [
        event("user_annotation", "enumerate(DataLoader)#_Iter.__next__", 50 * n, 5)
        for n in range(4)
    ]
    by_optimizer = find_steps(read(tmp_path, [*optimizer, *loader]))
    by_loader = find_steps(read(tmp_path, loader))
    none = find_steps(read(tmp_path, optimizer[:2]))

    assert (by_optimizer.mark, by_optimizer.count) == ("optimizer step", 3)
    assert (by_loader.mark, by_loader.count) == ("data loader", 3)
    assert (none.mark, none.count) == ("none", 0)
    assert none.window.total_ns == 110_000  # all of the trace: from 90 us to 200 us


def test_without_a_device_nothing_is_said_of_one(tmp_path: Path) -> None:
    trace = read(tmp_path, [profiler_step(1, 0, 100), event("cpu_op", "aten::mm", 10, 50)])
    found = break_down(trace, find_steps(trace))

    assert found is not None
    assert found.gpu_busy_share is None
    assert found.idle_share is None
    assert {part.name: part.ns for part in found.partition if part.ns} == {
        "operator": 50_000,
        "other": 50_000,
    }
    assert find_idle_causes(trace, find_steps(trace)) == ()
    assert use_of_kernels(trace, find_steps(trace).window) is None


@pytest.mark.parametrize(
    ("host", "cause"),
    [
        (event("cuda_runtime", "cudaDeviceSynchronize", 0, 60), "synchronisation"),
        (event("cuda_runtime", "cudaMemcpyAsync", 0, 60), "copy"),
        (event("cuda_runtime", "cudaMalloc", 0, 60), "allocator"),
        (event("overhead", "Activity Buffer Request", 0, 60), "profiler"),
        (event("cpu_op", "aten::add", 0, 60), "launching"),
        (event("user_annotation", "my part", 0, 60), "python"),
        (event("cpu_op", "aten::add", 0, 60, tid=999), "python"),
    ],
)
def test_each_cause_of_an_idle_device(tmp_path: Path, host: EventDict, cause: str) -> None:
    events = [profiler_step(1, 0, 100), host, *kernel("k", 60, 60, 40, 1)]
    trace = read(tmp_path, events)
    found = find_idle_causes(trace, find_steps(trace))

    assert found[0].cause == cause
    assert sum(each.ns for each in found) == 60_000


def test_a_frame_of_ones_own_code_is_named(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 100),
        event("python_function", "train.py(10): main", 0, 100),
        event("python_function", "data/prepare.py(42): decode", 2, 55),
        *kernel("k", 60, 60, 40, 1),
    ]
    trace = read(tmp_path, events)
    heaviest = find_idle_causes(trace, find_steps(trace))[0]

    assert (heaviest.cause, heaviest.where) == ("python", "data/prepare.py:42 decode")


def test_kernels_are_charged_to_operator_and_stage(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 200),
        event("user_annotation", "vrt.stage1", 0, 50),
        event("cpu_op", "aten::mm", 5, 10, **{"External id": 1}),
        *kernel("ampere_fp16_s16816gemm", 6, 20, 30, 1, **{"External id": 1}),
        event("user_annotation", "vrt.stage2", 60, 50),
        *kernel("elementwise", 70, 80, 10, 2),
    ]
    trace = read(tmp_path, events)
    use = use_of_kernels(trace, find_steps(trace).window)

    assert use is not None
    assert {group.name: group.ns for group in use.by_stage} == {
        "vrt.stage1": 30_000,
        "vrt.stage2": 10_000,
    }
    assert {group.name: group.ns for group in use.by_operator} == {
        "aten::mm": 30_000,
        "(unknown)": 10_000,
    }
    assert use.tensor_core_share == pytest.approx(0.75)
    assert sum(group.ns for group in use.by_name) == use.ns


def test_overlapping_kernels_fill_the_device_once(tmp_path: Path) -> None:
    events = [
        profiler_step(1, 0, 100),
        *kernel("half", 0, 0, 100, 1, **{"blocks per SM": 0.5}),
        *kernel("full", 0, 40, 20, 2, **{"blocks per SM": 3.0}),
    ]
    trace = read(tmp_path, events)
    use = use_of_kernels(trace, find_steps(trace).window)

    assert use is not None
    assert use.sm_efficiency == pytest.approx(0.5 * 0.8 + 1.0 * 0.2)


def reference() -> dict[str, dict[str, dict[str, float]]]:
    loaded: dict[str, dict[str, dict[str, float]]] = json.loads(
        Path(REFERENCE or "", "traces", "reference.json").read_text()
    )
    return loaded


def real(name: str) -> Trace:
    return parse_trace(Path(REFERENCE or "", "traces", name))


RESNETS = (
    "resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz",
    "resnet50_num_workers_4/worker0.1623212756351.pt.trace.json.gz",
)


@needs_reference
@pytest.mark.parametrize("name", RESNETS)
def test_the_partition_is_that_of_torch_tb_profiler(name: str) -> None:
    theirs = reference()["torch_tb_profiler_0.4.3_pct_of_step"][name]
    trace = real(name)
    steps = find_steps(trace)
    found, use = break_down(trace, steps), use_of_kernels(trace, steps.window)

    assert found is not None
    assert use is not None
    ours = {part.name: 100 * part.share for part in found.partition}
    names = {"data_loader": "dataloader", "operator": "cpu_exec"}
    for name_ in ("kernel", "memcpy", "memset", "runtime", "data_loader", "operator", "other"):
        assert ours[name_] == pytest.approx(theirs[names.get(name_, name_)], abs=0.001)
    assert found.window_ns / len(steps) / 1000 == pytest.approx(theirs["step_us"], rel=1e-5)
    assert 100 * (use.sm_efficiency or 0) == pytest.approx(theirs["sm_eff"], rel=0.005)
    assert use.occupancy_percent == pytest.approx(theirs["occupancy"], rel=0.001)


@needs_reference
def test_every_real_trace_closes() -> None:
    paths = sorted(Path(REFERENCE or "", "traces").rglob("*.json.gz"))
    assert len(paths) > 8
    for path in paths:
        trace = parse_trace(path)
        steps = find_steps(trace)
        found = break_down(trace, steps)
        assert trace.num_unread == 0
        assert found is not None
        assert sum(part.ns for part in found.partition) == found.window_ns
        idle = sum(each.ns for each in find_idle_causes(trace, steps))
        assert idle == pytest.approx((found.idle_share or 0) * found.window_ns, abs=1)


@needs_reference
@pytest.mark.parametrize("rank", [0, 1])
def test_communication_is_that_of_the_interval_unions(rank: int) -> None:
    name = f"two_ranks/sampled_rank-{rank}.json.gz"
    theirs = reference()["interval_unions_in_cpu_profiler_steps_pct"][name]
    trace = real(name)
    found = break_down(trace, find_steps(trace))

    assert found is not None
    assert 100 * (found.gpu_busy_share or 0) == pytest.approx(
        theirs["gpu_busy_kernel_pct"], abs=0.001
    )
    assert 100 * (found.communication_share or 0) == pytest.approx(
        theirs["nccl_kernel_pct"], abs=0.001
    )
    assert 100 * (found.communication_exposed_share or 0) == pytest.approx(
        theirs["nccl_exposed_pct"], abs=0.001
    )
    assert trace.rank == rank
