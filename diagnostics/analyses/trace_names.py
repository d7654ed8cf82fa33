"""How PyTorch, its recorder and the libraries below name what a trace shows; one place for all.

Each pattern is looked for in a name (`re.search`).
"""

import re

PROFILER_STEP = re.compile(r"^ProfilerStep#(\d+)$")
"""A step by `torch.profiler`'s own mark."""

OPTIMIZER_STEP = re.compile(r"^Optimizer\.step#.+\.step$")

DATA_LOADING = re.compile(r"^enumerate\(DataLoader\)#|^data_wait$")
"""PyTorch's range around a loader's fetch, and the one of our recorder."""

LOADER_FETCH = re.compile(r"^enumerate\(DataLoader\)#.+\.__next__$")

LOADER_ITERATOR = re.compile(r"^enumerate\(DataLoader\)#")

COMMUNICATION = re.compile(r"^(nccl|rccl|mscclpp|oneccl)|\bnccl(Dev)?Kernel", re.IGNORECASE)
"""Kernels that exchange data between ranks."""

HOST_COMMUNICATION = re.compile(r"^(nccl|gloo|mpi|ucc):", re.IGNORECASE)
"""Ranges of the program around such an exchange."""

TENSOR_CORE = re.compile(
    r"(hmma|imma|dmma|bmma|h?884|16816|1688|xmma|tensorop|nvjet|wgmma|gmma|mma_sync|"
    r"sm(80|86|89|90|100)_(xmma|cutlass)|flash_(fwd|bwd|attn)|fmha|mma_)",
    re.IGNORECASE,
)
"""Names of kernels that run on tensor cores, from Volta to Blackwell, of cuBLAS, cuDNN, CUTLASS and
FlashAttention. Triton kernels keep no word of it in their names: they count as unknown."""
