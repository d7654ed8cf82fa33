"""The names by which work on matrix units is known: kernels that use them, operators that could.

A trace says nothing about the units a kernel ran on; its name does, as far as its library has kept
a word of it. This table is the one place to extend when a library renames its kernels. A name that
fits an exception is none, whatever else fits.
"""

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class KernelName:
    """Kernels known by a piece of their name; `source` says where the name is from."""

    pattern: str
    what: str
    source: str


MATRIX_KERNELS: tuple[KernelName, ...] = (
    KernelName(
        r"(?<![a-z0-9])[bcdghisz](884|1688|16816|16832|8816|8832)(?![0-9])",
        "cuBLAS and cuDNN, Volta to Ampere, by the shape of the instruction (m8n8k4, m16n8k8, ...)",
        "PTX ISA, mma shapes; torch-tb-profiler 0.4.3 lists h884, s884, h1688, i8816, 16816",
    ),
    KernelName(
        r"(?<![a-z])[hibdq]mma(?![a-z])",
        "HMMA, IMMA, BMMA, DMMA: the instruction itself",
        "CUDA binary utilities, instruction set reference",
    ),
    KernelName(
        r"tensor_?op",
        "CUTLASS 2 and 3, cuBLAS and cuDNN kernels made of it (the others say simt)",
        "CUTLASS documentation, profiler kernel names",
    ),
    KernelName(
        r"tensor\d+x\d+x\d+",
        "xmma kernels of cuBLAS and cuDNN that name the instruction's shape (Turing to Ada)",
        "names in public A100 traces",
    ),
    KernelName(
        r"sm(70|72|75|80|86|87|89|90|100|103|120)_xmma",
        "xmma kernels of cuBLAS and cuDNN, FFMA ones excepted below",
        "names in public A100 and H100 traces; torch-tb-profiler 0.4.3 lists xmma_gemm",
    ),
    KernelName(
        r"nvjet_", "cuBLASLt on Hopper and Blackwell", "names in public H100 and B200 traces"
    ),
    KernelName(
        r"wgmma|(?<![a-z])gmma|utcmma|tcgen05|warpgroupsize",
        "Hopper's warp-group and Blackwell's tensor memory instructions",
        "PTX ISA (wgmma, tcgen05); names in public H100 traces",
    ),
    KernelName(r"wmma", "the WMMA interface of CUDA C++", "CUDA C++ programming guide"),
    KernelName(
        r"flash_(fwd|bwd)|flash_attn|FlashAttn(Fwd|Bwd)|flash_(fprop|bprop)",
        "FlashAttention 2 and 3, PyTorch's copy and cuDNN's attention",
        "names in public A100 and H100 traces",
    ),
    KernelName(
        r"fmha_cutlass[FB]\w*_(f16|bf16)_\w*sm(70|75|80|90)|fmha_cutlass[FB]\w*_f32_\w*sm(80|90)",
        "memory-efficient attention of PyTorch (of float32 only from Ampere on)",
        "PyTorch, aten/src/ATen/native/transformers/cuda/mem_eff_attention",
    ),
    KernelName(
        r"fmha_v2", "fused attention of TensorRT and Transformer Engine", "TransformerEngine"
    ),
    KernelName(
        r"triton_tem_fused_\w*(mm|convolution|attention)|triton_(mm|bmm|flex_attention)",
        "templates of torch.compile around tl.dot; other Triton kernels keep no word of it",
        "PyTorch, torch/_inductor/kernel",
    ),
    KernelName(
        r"^Cijk_\w*_MI\d+x\d+|(?<![a-z])v?mfma(?![a-z])",
        "matrix cores of AMD, in rocBLAS and hipBLASLt by their tile",
        "Tensile, kernel name parameters",
    ),
)

VECTOR_KERNELS: tuple[KernelName, ...] = (
    KernelName(r"ffma|simt", "plain floating point of CUTLASS and xmma", "as above"),
    KernelName(
        r"xmma_\w*_f32f32_f32f32_f32_(?!\w*tf32)",
        "xmma of float32 without TF32",
        "names in public H100 traces",
    ),
)
"""Exceptions from the list above."""

ELIGIBLE_OPERATORS: tuple[str, ...] = (
    "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::addbmm", "aten::matmul",
    "aten::linear", "aten::_scaled_mm", "aten::_grouped_mm", "aten::_addmm_activation",
    "aten::conv1d", "aten::conv2d", "aten::conv3d", "aten::convolution", "aten::_convolution",
    "aten::conv_transpose1d", "aten::conv_transpose2d", "aten::conv_transpose3d",
    "aten::convolution_backward", "aten::cudnn_convolution", "aten::cudnn_convolution_transpose",
    "aten::cudnn_convolution_backward", "aten::cudnn_convolution_backward_input",
    "aten::cudnn_convolution_backward_weight", "aten::cudnn_convolution_transpose_backward",
    "aten::cudnn_convolution_relu", "aten::cudnn_convolution_add_relu",
    "aten::miopen_convolution", "aten::convolution_overrideable",
    "aten::_thnn_fused_lstm_cell", "aten::_cudnn_rnn", "aten::_cudnn_rnn_backward",
    "aten::_scaled_dot_product_flash_attention", "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_efficient_attention", "aten::_efficient_attention_forward",
    "aten::_efficient_attention_backward", "aten::_flash_attention_forward",
    "aten::_flash_attention_backward", "aten::_scaled_dot_product_flash_attention_backward",
    "aten::_scaled_dot_product_efficient_attention_backward",
    "aten::_scaled_dot_product_cudnn_attention_backward",
)  # fmt: skip
"""Operators whose mathematics is products of matrices, by the dispatcher's names: PyTorch's
convolution, matrix product, RNN and attention entries of native_functions.yaml."""

_MATRIX = re.compile("|".join(f"(?:{each.pattern})" for each in MATRIX_KERNELS), re.IGNORECASE)
_VECTOR = re.compile("|".join(f"(?:{each.pattern})" for each in VECTOR_KERNELS), re.IGNORECASE)
_ELIGIBLE = frozenset(ELIGIBLE_OPERATORS)


@lru_cache(maxsize=1 << 14)
def uses_matrix_units(name: str) -> bool:
    """Whether a kernel of this name runs on tensor cores (AMD: matrix cores)."""
    return bool(_MATRIX.search(name)) and not _VECTOR.search(name)


def could_use_matrix_units(operator: str) -> bool:
    """Whether an operator of this name is made of matrix products."""
    return operator in _ELIGIBLE
