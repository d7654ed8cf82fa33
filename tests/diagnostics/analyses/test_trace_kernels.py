"""Kernels by stage and module, matrix units by name, what the backward computes again."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from diagnostics.analyses.trace_backward import find_backward
from diagnostics.analyses.trace_kernel_names import could_use_matrix_units, uses_matrix_units
from diagnostics.analyses.trace_kernels import use_of_kernels
from diagnostics.analyses.trace_recompute import Recomputation, find_recomputation
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers.trace_file import parse_trace
from diagnostics.trace import Trace
from tests.diagnostics.trace_factory import (
    EventDict,
    event,
    kernel,
    profiler_step,
    work,
    write_trace,
)

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")
AUTOGRAD_THREAD = 200


def read(tmp_path: Path, events: list[EventDict]) -> Trace:
    return parse_trace(write_trace(tmp_path / "t.json", [profiler_step(1, 0, 1000), *events]))


def op(name: str, ts: float, dur: float, sequence: int | None = None, tid: Any = 100) -> EventDict:
    numbered = {} if sequence is None else {"Sequence number": sequence}
    return event("cpu_op", name, ts, dur, tid=tid, **numbered)


def node(name: str, ts: float, dur: float, sequence: int) -> EventDict:
    whole = f"autograd::engine::evaluate_function: {name}"
    return op(whole, ts, dur, sequence, AUTOGRAD_THREAD)


def launched_by_backward(ts: float, correlation: int) -> list[EventDict]:
    return work("kernel", "k", (ts, 2), (ts + 5, 10), correlation, tid=AUTOGRAD_THREAD)


def forward_and_backward() -> list[EventDict]:
    """Two stages; the backward of the second computes part of its forward again."""
    return [
        event("user_annotation", "stage1", 0, 40),
        event("python_function", "nn.Module: Conv_0", 5, 30),
        op("aten::conv2d", 10, 20, 1),
        *kernel("k", 12, 20, 10, 1),
        event("user_annotation", "stage2", 50, 40),
        op("aten::linear", 60, 20, 2),
        *kernel("k", 62, 70, 10, 2),
        node("AddmmBackward0", 100, 90, 2),
        op("aten::gelu", 110, 20, 7, AUTOGRAD_THREAD),
        *launched_by_backward(112, 3),
        op("aten::mm", 140, 20, None, AUTOGRAD_THREAD),
        *launched_by_backward(142, 4),
        node("ConvolutionBackward0", 200, 50, 1),
        op("aten::convolution_backward", 205, 40, None, AUTOGRAD_THREAD),
        *launched_by_backward(210, 5),
    ]


def test_the_backward_belongs_to_the_stage_of_its_forward(tmp_path: Path) -> None:
    trace = read(tmp_path, forward_and_backward())
    use = use_of_kernels(trace, find_steps(trace).window)

    assert use is not None
    assert {(each.name, each.phase): each.ns for each in use.by_stage} == {
        ("stage1", "direct"): 10_000,
        ("stage2", "direct"): 10_000,
        ("stage2", "recompute"): 10_000,
        ("stage2", "backward"): 10_000,
        ("stage1", "backward"): 10_000,
    }
    assert {each.name: each.ns for each in use.by_module} == {
        "nn.Module: Conv_0": 20_000,
        "(unknown)": 30_000,
    }
    for groups in (use.by_stage, use.by_module, use.by_name, use.by_operator):
        assert sum(each.ns for each in groups) == use.ns


def recomputation(tmp_path: Path, events: list[EventDict]) -> Recomputation:
    trace = read(tmp_path, events)
    return find_recomputation(trace, find_backward(trace), find_steps(trace).window)


def test_what_runs_again_in_the_backward_is_recomputation(tmp_path: Path) -> None:
    found = recomputation(tmp_path, forward_and_backward())

    assert found.why_not is None
    assert (found.host_ns, found.kernel_ns, found.num_kernels) == (20_000, 10_000, 1)
    assert found.kernel_share == pytest.approx(0.2)
    assert [each.name for each in found.operators] == ["aten::gelu"]


def test_a_plain_backward_computes_nothing_again(tmp_path: Path) -> None:
    events = [each for each in forward_and_backward() if each["name"] != "aten::gelu"]
    found = recomputation(tmp_path, events)

    assert (found.why_not, found.host_ns, found.kernel_ns) == (None, 0, 0)


def test_where_it_cannot_be_told_it_says_why(tmp_path: Path) -> None:
    second = op("aten::convolution_backward", 210, 5, 9, AUTOGRAD_THREAD)
    bare = [
        {**each, "args": {k: v for k, v in each["args"].items() if k != "Sequence number"}}
        for each in forward_and_backward()
    ]

    assert recomputation(tmp_path, [*forward_and_backward(), second]).why_not == "second_derivative"
    assert recomputation(tmp_path, bare).why_not == "no_sequence_numbers"
    assert recomputation(tmp_path, [op("aten::mm", 0, 5)]).why_not == "no_backward"
    assert recomputation(tmp_path, bare).host_ns is None


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_of_torch_itself_is_seen(tmp_path: Path, reentrant: bool) -> None:
    torch = pytest.importorskip("torch")
    layers = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(3)])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        start = torch.ones(2, 4, requires_grad=True)
        out = torch.utils.checkpoint.checkpoint(layers, start, use_reentrant=reentrant)
        torch.nn.functional.linear(out, layers[0].weight).sum().backward()
    profiler.export_chrome_trace(str(tmp_path / "t.json"))
    trace = parse_trace(tmp_path / "t.json")
    found = find_recomputation(trace, find_backward(trace), find_steps(trace).window)

    assert found.why_not is None
    assert {each.name: each.count for each in found.operators} == {"aten::linear": 3}


@pytest.mark.parametrize(
    "name",
    [
        "volta_fp16_s884gemm_fp16_128x64_ldg8_f2f_nn",
        "turing_fp16_s1688cudnn_fp16_128x128_ldg8_relu_f2f_exp_small_nhwc_tn_v1",
        "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_tn",
        "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize128x128x16_stage4_tensor16x8x8_kernel",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1",
        "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x128_16x5_nn_align4>",
        "nvjet_hsh_256x128_64x4_2x1_v_bz_TNN",
        "nvjet_sm100_tst_64x32_64x16_2x1_2cta_h_bz_TNT",
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 64, 4>>",
        "fmha_cutlassF_f16_aligned_64x64_rf_sm80",
        "triton_tem_fused_addmm_3",
        "Cijk_Ailk_Bljk_HHS_BH_MT128x128x16_MI32x32x8x1_SN",
    ],
)
def test_matrix_units_of_every_age_are_known_by_name(name: str) -> None:
    assert uses_matrix_units(name)


@pytest.mark.parametrize(
    "name",
    [
        "volta_sgemm_128x64_nt",
        "ampere_sgemm_128x64_nn",
        "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x256x8_stage3_ffma_aligna4_kernel",
        "void cutlass::Kernel2<cutlass_80_simt_sgemm_128x32_8x5_nn_align1>",
        "fmha_cutlassF_f32_aligned_64x64_rf_sm50",
        "void at::native::elementwise_kernel<128, 2, at::native::gemma>",
        "triton_poi_fused_add_884_16",
        "ncclDevKernel_AllReduce_Sum_f32_RING_LL",
    ],
)  # fmt: skip
def test_other_kernels_are_none(name: str) -> None:
    assert not uses_matrix_units(name)


def test_eligible_and_unused_by_hand(tmp_path: Path) -> None:
    assert could_use_matrix_units("aten::mm")
    assert not could_use_matrix_units("aten::add")
    trace = read(
        tmp_path,
        [
            event("cpu_op", "aten::mm", 0, 9, **{"External id": 1}),
            *kernel("ampere_fp16_s16816gemm", 1, 20, 30, 1, **{"External id": 1}),
            event("cpu_op", "aten::bmm", 10, 9, **{"External id": 2}),
            *kernel("ampere_sgemm_128x64_nn", 11, 50, 50, 2, **{"External id": 2}),
            event("cpu_op", "aten::add", 20, 9, **{"External id": 3}),
            *kernel("elementwise", 21, 100, 20, 3, **{"External id": 3}),
        ],
    )
    use = use_of_kernels(trace, find_steps(trace).window)

    assert use is not None
    assert use.tensor_core_share == pytest.approx(0.3)
    assert use.eligible_share == pytest.approx(0.8)
    assert use.unused_share == pytest.approx(0.5)


@pytest.mark.skipif(REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA names no folder")
def test_eligible_kernels_are_those_of_torch_tb_profiler() -> None:
    """Its advice on both samples is that 68 % of kernel time could use tensor cores."""
    for workers in (0, 4):
        folder = Path(REFERENCE or "", "traces", f"resnet50_num_workers_{workers}")
        trace = parse_trace(next(folder.glob("*.json.gz")))
        use = use_of_kernels(trace, find_steps(trace).window)
        assert use is not None
        assert use.eligible_share == pytest.approx(0.68, abs=0.005)
        assert (use.tensor_core_share, use.unused_share) == (0.0, use.eligible_share)


def test_an_odd_sequence_number_harms_nothing(tmp_path: Path) -> None:
    events = [op("aten::mm", 0, 5), node("MmBackward0", 10, 5, 1 << 62), op("aten::x", 11, 1, -5)]
    events[0]["args"]["Sequence number"] = "many"
    json.dumps(events)

    assert recomputation(tmp_path, events).why_not == "no_sequence_numbers"
