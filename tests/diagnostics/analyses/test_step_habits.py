"""What a program does within its steps, on traces whose answer is known by construction."""

import pytest

from diagnostics.analyses.step_habits import find_habits
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import event, kernel, profiler_step, write_trace


def habits_of(tmp_path, events, num_steps=1, **fields):
    marks = [profiler_step(n + 1, 1000 * n, 1000) for n in range(num_steps)]
    trace = parse_trace(write_trace(tmp_path / "t.json", [*marks, *events], **fields))
    return find_habits(trace, find_steps(trace))


def test_a_trace_without_kernels_has_no_habits(tmp_path):
    assert habits_of(tmp_path, [event("cpu_op", "aten::mm", 10, 5)]) is None


def test_idle_time_behind_a_wait_is_charged_to_it(tmp_path):
    """The device runs until 200 us and gets its next work at 320: it ran dry in the wait."""
    events = [
        *kernel("gemm", 10, 20, 180, 1),
        event("cpu_op", "aten::item", 100, 120),
        event("cuda_runtime", "cudaStreamSynchronize", 110, 100),
        *kernel("gemm", 300, 320, 600, 2),
    ]
    waits = habits_of(tmp_path, events).synchronisations
    assert waits.per_step == 1
    assert waits.idle_ms == pytest.approx(0.120)
    assert waits.name == "aten::item"
    assert waits.where is None


def test_a_wait_while_the_device_stays_busy_costs_nothing(tmp_path):
    events = [
        *kernel("gemm", 10, 20, 900, 1),
        event("cuda_runtime", "cudaEventSynchronize", 100, 50),
        *kernel("gemm", 200, 920, 60, 2),
    ]
    waits = habits_of(tmp_path, events).synchronisations
    assert (waits.per_step, waits.idle_ms) == (1, 0)


def test_what_a_loader_takes_of_a_gap_is_not_the_wait_s_fault(tmp_path):
    loader = "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"
    events = [
        *kernel("gemm", 10, 20, 180, 1),
        event("cuda_runtime", "cudaDeviceSynchronize", 110, 100),
        event("user_annotation", loader, 220, 70),
        *kernel("gemm", 300, 320, 600, 2),
    ]
    assert habits_of(tmp_path, events).synchronisations.idle_ms == pytest.approx(0.050)


def test_a_copy_to_the_host_is_a_wait_and_its_line_is_named(tmp_path):
    events = [
        event("python_function", "train.py(7): step", 0, 990),
        event("python_function", "/usr/lib/python3.11/site-packages/torch/x.py(3): item", 99, 120),
        *kernel("gemm", 10, 20, 100, 1),
        event("cuda_runtime", "cudaMemcpyAsync", 100, 110, correlation=9),
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 190, 10, tid=7, correlation=9),
        *kernel("gemm", 300, 310, 600, 2),
    ]
    waits = habits_of(tmp_path, events).synchronisations
    assert waits.idle_ms == pytest.approx(0.180), "before the copy and after it"
    assert waits.where == "train.py:7 step"


def test_allocations_within_the_steps(tmp_path):
    events = [
        *kernel("gemm", 10, 20, 100, 1),
        event("cuda_runtime", "cudaMalloc", 110, 80),
        event("cuda_runtime", "cudaMalloc", 2000, 80),
        *kernel("gemm", 200, 220, 700, 2),
    ]
    calls = habits_of(tmp_path, events).allocations
    assert (calls.per_step, calls.name) == (1, "cudaMalloc")
    assert calls.idle_ms == pytest.approx(0.100)


def test_short_kernels_and_the_gaps_between_ready_ones(tmp_path):
    events = [e for n in range(10) for e in kernel("add", 1 + n, 100 + 8 * n, 5, n)]
    events += [*kernel("gemm", 90, 400, 40, 50)]
    found = habits_of(tmp_path, events)
    assert found.short_kernel_share == pytest.approx(10 / 11)
    assert found.median_kernel_us == 5
    assert found.queued_gap_ms == pytest.approx(9 * 3e-3), "a gap of 223 us is no launch's fault"


def test_kernels_that_only_copy_or_reorder(tmp_path):
    events = [
        event("cpu_op", "aten::contiguous", 5, 20, **{"External id": 7}),
        *kernel("elementwise", 10, 30, 100, 1, **{"External id": 7}),
        *kernel("void cudnn::ops::nchwToNhwcKernel<float>", 40, 200, 50, 2),
        *kernel("gemm", 60, 300, 500, 3),
    ]
    found = habits_of(tmp_path, events)
    assert found.copying_kernels == 2
    assert found.copying_ms == pytest.approx(0.150)


def test_sections_of_the_optimizer(tmp_path):
    """30 us of work in the update, which lasts from 100 to 260; idle 130 us of it."""
    events = [
        *kernel("gemm", 1, 10, 90, 1),
        event("user_annotation", "Optimizer.step#AdamW.step", 100, 100),
        *kernel("add", 110, 120, 10, 2),
        *kernel("multi_tensor_apply_kernel", 130, 240, 20, 3),
        event("user_annotation", "Optimizer.zero_grad#AdamW.zero_grad", 300, 100),
        *kernel("gemm", 500, 510, 400, 4),
        event("user_annotation", "Optimizer.step#AdamW.step", 5000, 100),
    ]
    found = habits_of(tmp_path, events)
    assert (found.optimizer.launches, found.optimizer.fused_share) == (2, 0.5)
    assert found.optimizer.device_ms == pytest.approx(0.030)
    assert found.optimizer.idle_ms == pytest.approx(0.130)
    assert (found.zero_grad.launches, found.zero_grad.device_ms) == (0, 0)
    assert found.zero_grad.idle_ms == pytest.approx(0.100)


def test_backend_devices_and_data_parallel(tmp_path):
    events = [*kernel("gemm", 1, 10, 90, 1), event("cpu_op", "DataParallel.forward", 0, 50)]
    found = habits_of(tmp_path, events, distributedInfo={"backend": "gloo", "rank": 0})
    assert (found.backend, found.num_devices, found.is_data_parallel) == ("gloo", 1, True)
