"""What helps an allocation that failed, by why it failed."""

from diagnostics.language import say
from diagnostics.rules.device_memory.memory_advice import device_memory_advice
from diagnostics.rules.finding import Advice, Evidence
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

_IN_PIECES = (
    "The memory was there, in pieces: start the run with "
    "PYTORCH_ALLOC_CONF=expandable_segments:True in its environment (before PyTorch 2.9 the name "
    "is PYTORCH_CUDA_ALLOC_CONF), and keep shapes from changing between steps."
)
_SCATTERED = (
    "PYTORCH_ALLOC_CONF=expandable_segments:True in the environment (before PyTorch 2.9 "
    "PYTORCH_CUDA_ALLOC_CONF) lets PyTorch join what it holds unused to what is free; that was "
    "just enough."
)
_NEARLY_FULL = (
    "{setting} Tensors held {share:.0%} of the GPU, though: take less of it, too, or the next "
    "larger allocation fails."
)
FULL_SHARE = 0.90
"""Of a GPU in tensors: what an allocator's setting can win back is little."""
_OTHERS = (
    "Other processes hold memory of this GPU: end them, or take another GPU "
    "(CUDA_VISIBLE_DEVICES); `python diagnose_memory.py` lists who is on it."
)
_NEVER_FITS = (
    "This one tensor is larger than the GPU: only a smaller crop (DATA.CROP_SIZE), a shorter clip "
    "(DATA.CLIP_LEN) or another way of computing it (MODEL.ATTENTION: fused) makes it fit."
)
_NEVER_FITS_OWN = (
    "This one tensor is larger than the GPU: only a smaller input, or another way of computing it, "
    "makes it fit."
)
SIGN = "no CUDA out of memory"


def failure_advice(measured: Measurements) -> tuple[Advice, ...]:
    """What meets the cause first, then what lowers GPU memory in any case."""
    cause, rest = measured.failure_cause, device_memory_advice(measured)
    own_network = bool(measured.config) and not measured.is_own_loop
    texts = {
        "fragmented": _IN_PIECES,
        "scattered": _SCATTERED,
        "others": _OTHERS,
        "not_granted": _OTHERS,
        "larger_than_gpu": _NEVER_FITS if own_network else _NEVER_FITS_OWN,
    }
    if cause not in texts:
        return rest
    text, share = texts[cause], measured.failed_tensor_share
    if cause in ("fragmented", "scattered") and share is not None and share >= FULL_SHARE:
        text = say(_NEARLY_FULL, setting=text, share=share)
    return (Advice(text=text, verify=verify(SIGN)), *rest)


def failure_evidence(measured: Measurements) -> tuple[Evidence, ...]:
    """The figures of the message, those that it states."""
    source = measured.source("num_device_oom")
    figures = (
        ("asked for", measured.failed_bytes),
        ("free on the GPU", measured.failed_free_bytes),
        ("reserved by PyTorch and unused", measured.failed_unallocated_bytes),
        ("held by other processes", measured.failed_other_bytes),
    )
    return tuple(
        Evidence(metric=figure, value=value, unit="bytes", source=source)
        for figure, value in figures
        if value is not None
    )
