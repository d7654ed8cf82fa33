"""The figures of PyTorch's messages, from version 1.0 to 2.x, as people have posted them."""

from pathlib import Path

import pytest

from diagnostics.analyses.allocation_failures import compute_allocation_failures
from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from diagnostics.memory_tables import ALLOCATION_FAILURES
from diagnostics.parsers.allocation_failure import failure_row, memory_of, read_figures
from diagnostics.report.failure_words import failure_details
from diagnostics.rules.measure_failure import failure_fields
from tests.diagnostics.factories import make_run, run_of, write_facts, write_lines

MIB, GIB = 1 << 20, 1 << 30
V2 = (
    "CUDA out of memory. Tried to allocate 22.78 GiB. GPU 1 has a total capacity of 31.47 GiB of "
    "which 12.73 GiB is free. Including non-PyTorch memory, this process has 18.73 GiB memory in "
    "use. Of the allocated memory 9.08 GiB is allocated by PyTorch, and 9.35 GiB is reserved by "
    "PyTorch but unallocated. If reserved but unallocated memory is large try setting "
    "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
V2_0 = (
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 496.00 MiB. GPU 0 has a "
    "total capacty of 14.75 GiB of which 235.06 MiB is free. Process 20398 has 14.52 GiB memory in "
    "use. Process 77 has 2.00 MiB memory in use. 12.00 GiB allowed; Of the allocated memory 14.06 "
    "GiB is allocated by PyTorch, with 1.50 GiB allocated in private pools (e.g., CUDA Graphs), "
    "and 330.42 MiB is reserved by PyTorch but unallocated."
)
V1 = (
    "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 1.96 GiB total "
    "capacity; 1.24 GiB already allocated; 2.88 MiB free; 1.25 GiB reserved in total by PyTorch)"
)
V1_0 = (
    "CUDA out of memory. Tried to allocate 12.50 MiB (GPU 3; 10.92 GiB total capacity; 8.57 MiB "
    "already allocated; 9.28 GiB free; 4.68 MiB cached)"
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


def test_the_message_of_today() -> None:
    found = read_figures(V2)
    assert (found["memory"], found["device_index"]) == ("device", 1)
    sizes = {
        name: value / GIB for name, value in found.items() if name.endswith("_bytes") and value
    }
    assert sizes == pytest.approx(
        {
            "requested_bytes": 22.78,
            "total_bytes": 31.47,
            "free_bytes": 12.73,
            "process_bytes": 18.73,
            "allocated_bytes": 9.08,
            "unallocated_bytes": 9.35,
        }
    )


def test_other_processes_private_pools_and_a_limit_of_the_process() -> None:
    found = read_figures(V2_0)
    assert found["total_bytes"] == pytest.approx(14.75 * GIB)  # "capacty", as 2.0 spelled it
    assert found["other_bytes"] == pytest.approx(14.52 * GIB + 2 * MIB)
    assert found["largest_other_pid"] == 20398
    assert found["allowed_bytes"] == 12 * GIB
    assert found["private_bytes"] == 1.5 * GIB
    assert found["process_bytes"] is None


@pytest.mark.parametrize(("text", "device", "unused"), [(V1, 0, 0.01 * GIB), (V1_0, 3, 0.0)])
def test_older_messages_state_what_was_reserved(text: str, device: int, unused: float) -> None:
    found = read_figures(text)
    assert found["device_index"] == device
    assert found["unallocated_bytes"] == pytest.approx(unused, abs=1)
    assert None not in (found["requested_bytes"], found["free_bytes"], found["total_bytes"])


def test_the_hosts_allocator_is_another_memory() -> None:
    found = read_figures(CPU)
    assert (found["memory"], found["requested_bytes"]) == ("host", 4e12)


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("CUDA error: out of memory", "device"),
        ("HIP out of memory. Tried to allocate 2.00 GiB", "device"),
        ("MPS backend out of memory (MPS allocated: 5.05 GB, max allowed: 6.80 GB)", "device"),
        ("out of memory", "host"),
    ],
)
def test_a_message_without_figures_still_says_whose_memory(text: str, memory: str) -> None:
    assert memory_of(text) == memory
    assert read_figures(text)["free_bytes"] is None


def test_a_hostile_message_is_read_in_bounded_time() -> None:
    text = "Process 1 has 1 GiB memory in use. " * 100_000 + "Tried to allocate " + "9" * 10**6
    found = read_figures(text)
    assert found["other_bytes"] == 64 * GIB
    assert found["requested_bytes"] is None


def cause_of(text: str) -> str:
    rows = ALLOCATION_FAILURES.from_rows([failure_row(text, source="log:1")])
    (failure,) = compute_allocation_failures(run_of(allocation_failures=rows))
    return failure.cause


def message(requested: str, free: str, unused: str, others: str = "", total: str = "10.00") -> str:
    return (
        f"CUDA out of memory. Tried to allocate {requested} GiB. GPU 0 has a total capacity of "
        f"{total} GiB of which {free} GiB is free. {others}Of the allocated memory 1.00 GiB is "
        f"allocated by PyTorch, and {unused} GiB is reserved by PyTorch but unallocated."
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (message("11.00", "9.00", "0.10"), "larger_than_gpu"),
        (message("2.00", "3.00", "0.10"), "not_granted"),
        (message("2.00", "0.50", "2.00"), "fragmented"),
        (message("2.00", "0.50", "1.60"), "scattered"),
        (message("0.50", "0.30", "0.41"), "scattered"),  # each too little, both enough
        (message("2.00", "0.50", "1.40"), "size"),
        (message("2.00", "0.50", "0.10", "Process 9 has 5.00 GiB memory in use. "), "others"),
        (
            message(
                "2.00",
                "0.50",
                "0.10",
                "Including non-PyTorch memory, this process has 4.00 GiB memory in use. ",
            ),
            "others",  # 5.5 GiB of the 10 are neither free nor this process's
        ),
        (
            message(
                "2.00",
                "0.50",
                "0.10",
                "Including non-PyTorch memory, this process has 9.49 GiB memory in use. ",
            ),
            "size",
        ),
        ("CUDA error: out of memory", "unknown"),
        (V1, "size"),
        (CPU, "unknown"),
    ],
)
def test_size_is_told_from_fragmentation_and_from_others(text: str, cause: str) -> None:
    assert cause_of(text) == cause


def test_what_only_both_together_would_have_held_is_said_with_both_numbers() -> None:
    text = message("0.50", "0.30", "0.41", total="44.00")
    rows = ALLOCATION_FAILURES.from_rows([failure_row(text, source="log:1")])
    (failure,) = compute_allocation_failures(run_of(allocation_failures=rows))
    said = " ".join(failure_details(failure))
    assert "Asked for: 512 MiB. Free: 307 MiB; unused in PyTorch's own reserve: 420 MiB." in said
    assert "only both together" in said
    assert failure_fields([failure])["failed_tensor_share"] == pytest.approx(1 / 44)


TRACEBACK = f"""\
Traceback (most recent call last):
  File "/code/train.py", line 40, in <module>
    main()
  File "/code/model.py", line 12, in forward
    return self.attention(x)
torch.OutOfMemoryError: {V2}
"""


def test_a_traceback_alone_is_a_log_and_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "error.txt"
    path.write_text(TRACEBACK)
    (failure,) = compute_allocation_failures(load_run([path]))
    assert failure.place == "/code/model.py:12 forward < /code/train.py:40 <module>"
    assert failure.requested_bytes == pytest.approx(22.78 * GIB)
    assert failure.source == "error.txt:6"


def test_a_traceback_of_another_error_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "error.txt"
    path.write_text(TRACEBACK.replace("torch.OutOfMemoryError: " + V2, "KeyError: 'x'"))
    with pytest.raises(DiagnosticsError, match="none of its 6 lines has a known format"):
        load_run([path])


def test_the_same_failure_in_traceback_and_last_line_counts_once(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "train.log",
        [
            "step 3/10 | loss=0.5000 lr=1.00e-04 | 2.1 samples/s | data_time=4.2ms step_time=9.1ms",
            *TRACEBACK.splitlines(),
            f"[error] GPU memory ran out: {V2} Lower TRAIN.BATCH_SIZE",
        ],
    )
    (failure,) = compute_allocation_failures(load_run([path]))
    assert (failure.count, failure.step) == (2, 3)
    assert failure.place is not None


def test_facts_have_the_whole_message_and_the_stage(tmp_path: Path) -> None:
    """The event's text is clipped to 500 characters in its own table; the figures are not."""
    others = "".join(f"Process {pid} has 1.00 GiB memory in use. " for pid in range(20))
    text = V2_0.replace("Process 77", others + "Process 77")
    facts = write_facts(tmp_path / "run", make_run(num_steps=3))
    values = {"where": "device", "reason": text, "stage": "vrt.stage1", "phase": "forward"}
    event = {"schema": 1, "kind": "event", "name": "out_of_memory", "step": 3, "at_unix_s": 1.0}
    import json

    with (facts / "spans.rank0.jsonl").open("a") as file:
        file.write(json.dumps({**event, "values": values}) + "\n")
    run = load_run([facts])
    (failure,) = compute_allocation_failures(run)
    assert failure.other_bytes == pytest.approx(34.52 * GIB + 2 * MIB)
    assert failure.unallocated_bytes == pytest.approx(330.42 * MIB)
    assert (failure.stage, failure.phase, failure.step) == ("vrt.stage1", "forward", 3)


def tensors_of(text: str, **tensors: int) -> tuple[str, ...]:
    from diagnostics import tables as declared

    rows = ALLOCATION_FAILURES.from_rows([failure_row(text, source="log:1")])
    event = (0, "stage_tensors", 3.0, 1.0, tensors, "spans.rank0.jsonl:9")
    run = run_of(allocation_failures=rows, events=declared.EVENTS.from_rows([event]))
    (failure,) = compute_allocation_failures(run)
    return failure.tensors


def test_what_was_asked_for_is_matched_to_the_tensors_of_that_size() -> None:
    """A GPU's message has two decimals of what its allocator rounded up; the host's is exact."""
    sizes = {"weights": int(2.0 * GIB) - MIB, "hidden": int(1.9 * GIB), "other": 3 * GIB}
    assert tensors_of(message("2.00", "0.50", "0.10"), **sizes) == ("weights",)
    small = "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 1.96 GiB total capacity)"
    assert tensors_of(small, any=3 * MIB) == ()  # 20 MiB are taken for whatever is below 10
    assert tensors_of(CPU, exact=4_000_000_000_000, near=4_000_000_000_001) == ("exact",)
    assert tensors_of("CUDA error: out of memory", any=GIB) == ()
