"""Communication by collective: hidden, exposed, bytes and bandwidth."""

import os
from pathlib import Path

import pytest

from diagnostics.analyses.trace_breakdown import break_down
from diagnostics.analyses.trace_collectives import (
    CollectiveUse,
    collective_of,
    use_of_collectives,
)
from diagnostics.analyses.trace_steps import find_steps
from diagnostics.parsers.trace_file import parse_trace
from tests.diagnostics.trace_factory import (
    EventDict,
    event,
    kernel,
    profiler_step,
    work,
    write_trace,
)

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")
DESCRIBED = {
    "Collective name": "allreduce", "dtype": "Float", "In msg nelems": 1000, "Group size": 4,
    "Out msg nelems": 1000, "Process Group Name": "0",
}  # fmt: skip


def used(tmp_path: Path, events: list[EventDict]) -> tuple[CollectiveUse, ...]:
    trace = parse_trace(write_trace(tmp_path / "t.json", [profiler_step(1, 0, 1000), *events]))
    return use_of_collectives(trace, find_steps(trace).window)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "all_reduce"),
        ("ncclKernel_AllGather_RING_LL_Sum_int8_t(ncclDevComm*)", "all_gather"),
        ("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL", "reduce_scatter"),
        ("ncclKernel_Reduce_RING_LL_Sum_float", "reduce"),
        ("ncclDevKernel_SendRecv(ncclDevComm*)", "send_recv"),
        ("ncclKernel_Broadcast_RING_LL_Sum_int8_t", "broadcast"),
        ("nccl:all_to_all", "all_to_all"),
        ("_allgather_base", "all_gather"),
        ("ncclKernel", "other"),
    ],
)
def test_names_of_every_age_are_known(name: str, expected: str) -> None:
    assert collective_of(name) == expected


def test_hidden_and_exposed_by_hand(tmp_path: Path) -> None:
    (use,) = used(
        tmp_path,
        [
            *kernel("sgemm", 1, 10, 100, 1),
            *kernel("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 2, 60, 100, 2, **DESCRIBED),
        ],
    )

    assert (use.collective, use.dtype, use.group_size) == ("all_reduce", "float", 4)
    assert (use.ns, use.exposed_ns) == (100_000, 50_000)
    assert use.exposed_share_of_window == pytest.approx(0.05)
    assert use.num_bytes == 4000
    assert use.algorithm_gb_per_s == pytest.approx(4000 / 100_000)
    assert use.bus_gb_per_s == pytest.approx(1.5 * 4000 / 100_000)


def test_before_kernels_had_arguments_the_operator_around_the_launch_describes_it(
    tmp_path: Path,
) -> None:
    around = event("cpu_op", "record_param_comms", 0, 20, **DESCRIBED)
    elsewhere = event("cpu_op", "record_param_comms", 0, 20, tid=999, **DESCRIBED)
    launched = kernel("ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t", 5, 60, 100, 2)

    (told,) = used(tmp_path, [around, *launched])
    (silent,) = used(tmp_path, [elsewhere, *launched])

    assert (told.collective, told.num_bytes) == ("all_reduce", 4000)
    assert (silent.collective, silent.num_bytes, silent.bus_gb_per_s) == ("send_recv", None, None)


def test_a_size_that_is_not_known_makes_no_bandwidth(tmp_path: Path) -> None:
    odd = {**DESCRIBED, "dtype": "Quaternion"}
    (use,) = used(tmp_path, [*kernel("ncclKernel_AllReduce", 2, 60, 100, 2, **odd)])

    assert (use.num_bytes, use.num_sized, use.algorithm_gb_per_s) == (None, 0, None)


def test_collectives_side_by_side_count_each(tmp_path: Path) -> None:
    found = used(
        tmp_path,
        [
            *work("kernel", "ncclKernel_AllReduce", (0, 1), (10, 100), 1, stream=20, **DESCRIBED),
            *work("kernel", "ncclKernel_AllGather", (0, 1), (10, 50), 2, stream=21),
        ],
    )

    assert [(each.collective, each.ns) for each in found] == [
        ("all_reduce", 100_000),
        ("all_gather", 50_000),
    ]


@pytest.mark.skipif(REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA names no folder")
def test_a_real_trace_with_arguments() -> None:
    trace = parse_trace(Path(REFERENCE or "", "traces", "nccl", "nccl_data.json.gz"))
    steps = find_steps(trace)
    found = use_of_collectives(trace, steps.window)
    whole = break_down(trace, steps)

    assert whole is not None
    reduce, *broadcasts = found
    # 5 buckets of a ResNet-50 in each of 3 steps: 25.6 M parameters of 4 bytes.
    assert (reduce.collective, reduce.dtype, reduce.group_size) == ("all_reduce", "float", 2)
    assert (reduce.count, reduce.num_bytes) == (15, pytest.approx(3 * 4 * 25_557_032))
    assert {each.collective for each in broadcasts} == {"broadcast"}
    exposed = sum(each.exposed_share_of_window for each in found)
    assert exposed == pytest.approx(whole.communication_exposed_share, abs=1e-3)
