"""Which lines say that memory has run out, and which only speak of it."""

import pytest

from diagnostics.parsers.log_lines import parse_out_of_memory


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 15.82 GiB.",
        "RuntimeError: Out of memory",
        "Out of memory: Killed process 4242 (python) total-vm:81GB",
        "[1234.5] Memory cgroup out of memory: Killed process 77 (python)",
        "out of memory",
        "HIP out of memory. Tried to allocate 20.00 MiB",
        "RuntimeError: [1] host ran out of memory while pinning",
        "[rank3]: torch.cuda.OutOfMemoryError",
    ],
)
def test_a_line_that_says_it(line):
    assert parse_out_of_memory(line) == line


@pytest.mark.parametrize(
    "line",
    [
        "# VRT-Spike says why a PyTorch training run is slow or runs out of memory",
        "lower the batch size if your GPU is about to be out of memory",
        "this avoids out of memory problems",
    ],
)
def test_prose_that_only_speaks_of_it(line):
    assert parse_out_of_memory(line) is None
