"""What the original VRT-Spike trainer says when it starts, ends and resumes.

Its settings are told by their keys in the configuration. Most of its lines begin with `[train]`;
those that state no setting are passed over. Every rank prints them, so they come several times.
"""

import re
from typing import Any

from diagnostics.parsers.line_scanner import LineFormat
from diagnostics.parsers.scanned import SAID, Statement

_LINES: tuple[tuple[str, str, type], ...] = (
    (r"\[train\] Found (\d{1,6}) GPUs available", "num_gpus", int),
    (r"\[train\] Using DistributedDataParallel with (\d{1,6}) GPUs", "world_size", int),
    (r"\[train\] CPU核心数: (\d{1,6})", "num_cpus", int),
    (r"\[train\] 总计: (\d{1,6}) 个训练workers", "DATALOADER.TOTAL_WORKERS", int),
    (r"\[train\]   - batch_size: (\d{1,6})", "TRAIN.BATCH_SIZE", int),
    (r"\[train\]   - pin_memory: (True|False)", "DATALOADER.PIN_MEMORY", bool),
    (r"\[train\]   - persistent_workers: (True|False)", "DATALOADER.PERSISTENT_WORKERS", bool),
    (r"\[train\]   - prefetch_factor: (\d{1,6})", "DATALOADER.TRAIN_PREFETCH_FACTOR", int),
    (r"\[train\] Gradient accumulation steps: (\d{1,6})", "TRAIN.GRADIENT_ACCUMULATION_STEPS", int),
    (r"\[train\] Mixed precision training \((AMP)\) enabled", "TRAIN.AMP_ENABLED", bool),
    (r"\[train\] (Compiling) model with torch.compile", "TRAIN.COMPILE_MODEL", bool),
    (r"\[train\] Total steps: (\d{1,15})", "total_steps", int),
    (r"\[train\] (Done)\.", "finished", bool),
    (r"^(Training completed)\. Log saved to ", "finished", bool),
    (r"\[TimingLogger\] 耗时日志文件: (\S{1,1000})", "timing_log", str),
)
_SETTINGS = tuple((re.compile(pattern), key, kind) for pattern, key, kind in _LINES)
_GPU = re.compile(r"  GPU (\d{1,6}): (.{1,100}?) \(([\d.]{1,10}) GB\)")


def read_setting(line: bytes) -> Statement:
    """A setting by its key; or a line that states none."""
    text = line.decode("utf-8", "replace")
    for pattern, key, kind in _SETTINGS:
        if found := pattern.search(text):
            return Statement(kind="setting", value=(key, _value(found[1], kind)))
    return Statement(kind=SAID)


def _value(text: str, kind: type) -> Any:
    if kind is bool:
        return text != "False"
    return int(text) if kind is int else text


def read_gpu(line: bytes) -> Statement | None:
    """`  GPU 0: NVIDIA RTX A6000 (47.4 GB)`."""
    found = _GPU.search(line.decode("utf-8", "replace"))
    if found is None or found[3].count(".") > 1 or found[3] == ".":
        return None
    return Statement(kind="gpu", value=(int(found[1]), found[2], float(found[3])))


_KNOWN = (
    b"[train] ",
    b"[train.py] ",
    b"[TimingLogger] ",
    b"[SpikeDeblurDataset] ",
    b"Training completed. Log saved to ",
    b"Starting training with ",
    b"Created new experiment directory: ",
    b"Log file: ",
    b"[val] Cleared GPU cache",
    b"[Memory] Cleared GPU cache",
    b"[Memory Management] ",
    "    ✓ ".encode(),
    b"pixels outside [",
    b"-> NaN/Inf in gradient: ",
    b"more parameters with NaN/Inf gradients",
    b"Consider reducing CACHE_SIZE_GB",
    b"GiB memory in use",
    b"GiB is allocated by PyTorch",
    b"GiB is reserved by PyTorch but unallocated",
    b"has a total capacity of ",
    b"Timing Summary (Total ",
    b"[test] Done: ",
)

FORMATS = (
    LineFormat(b"  GPU ", read_gpu),
    *(LineFormat(marker, read_setting) for marker in _KNOWN),
)
