"""Kernels that no table of names knows: what they are, the report can only guess."""

import re

import numpy as np

from diagnostics.trace import Events, Trace

KNOWN = re.compile(
    r"^void (at|at_cuda_detail|c10|cub|thrust)::|at::native|at_cuda_detail|\bcub::|\bthrust::"
    r"|elementwise|reduce|softmax|layer_?norm|batch_?norm|bn_|dropout|index|scatter|gather|copy|fill"
    r"|gemm|gemv|cutlass|cublas|splitk|xmma|nvjet|cudnn|conv|winograd|fft|dgrad|wgrad|nchw|nhwc"
    r"|flash|fmha|attention|triton|nccl|rccl|msccl|memset|memcpy|transpose|pool|upsample|embedding"
    r"|adam|sgd|multi_tensor|Cijk_|miopen|MIOpen|rocblas|hip|_s\d+_|sort|scan|loss|grid_sample",
    re.IGNORECASE,
)
"""Pieces of names of PyTorch's kernels, of the libraries below it, of Triton's and of NCCL's."""


def kernel_times(trace: Trace, kernels: Events) -> tuple[int, int]:
    """The time of kernels in ns, and that of the ones whose names say nothing."""
    lengths = kernels["end_ns"] - kernels["start_ns"]
    known = np.isin(kernels["name"], trace.named(KNOWN))
    return int(lengths.sum()), int(lengths[~known].sum())
