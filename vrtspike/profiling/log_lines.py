"""The text log's lines, one pure function for each kind; `docs/records.md` shows them.

MB and GB in these documented lines are 1024-based.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vrtspike.profiling.memory import MemoryFigures
from vrtspike.profiling.records import (
    OTHERS,
    PHASES,
    SCHEMA_VERSION,
    Clock,
)

MIB = 1024**2
GIB = 1024**3
CRITICAL_MEMORY_PERCENT = 90.0
"""Above this share of the memory the documented warning follows the memory line."""

_BAR_CELLS = 20


def run_line(run_id: str, facts: str, clock: Clock, *, own_loop: bool = False) -> str:
    """The first line of a log; `facts` is the facts folder as seen from the log's folder."""
    line = f"[run] id={run_id} schema={SCHEMA_VERSION} facts={facts} clock={clock}"
    return f"{line} trainer=own" if own_loop else line


@dataclass(frozen=True, kw_only=True)
class StepFigures:
    """What a step line says.

    `losses` holds `loss` and its terms, in the order to print; NaN is printed as nan.
    `gpu_memory` is the rank and its allocated bytes, `samples_per_s` of all ranks, `data_ms` the
    wait around the fetch of the next batch. None is left out of the line.
    """

    losses: Mapping[str, float]
    lr: float | None = None
    gpu_memory: tuple[int, int] | None = None
    samples_per_s: float | None = None
    data_ms: float
    step_ms: float


def step_line(step: int, total: int | None, figures: StepFigures) -> str:
    """Loss, memory and speed; `total` steps of the whole training, if known."""
    numbers = [f"{name}={value:.4f}" for name, value in figures.losses.items()]
    numbers += [] if figures.lr is None else [f"lr={figures.lr:.2e}"]
    parts = [_position("step", step, total), " ".join(numbers)]
    if figures.gpu_memory is not None:
        rank, allocated_bytes = figures.gpu_memory
        parts.append(f"GPU{rank}_mem={allocated_bytes / GIB:.1f}GB")
    if figures.samples_per_s is not None:
        parts.append(f"{figures.samples_per_s:.1f} samples/s")
    parts.append(f"data_time={figures.data_ms:.1f}ms step_time={figures.step_ms:.1f}ms")
    return " | ".join(part for part in parts if part)


def stages_line(
    step: int,
    total: int | None,
    clock: Clock,
    phases_ms: Mapping[str, float],
    stages_ms: Mapping[str, float],
) -> str:
    """Phases and forward stages of a step by one clock, in milliseconds."""
    phases = _times({name: phases_ms[name] for name in PHASES if name in phases_ms})
    parts = [_position("stages", step, total), f"clock={clock}", phases, _times(stages_ms)]
    return " | ".join(part for part in parts if part)


def direction_line(
    direction: Literal["backward", "recompute"],
    step: int,
    total: int | None,
    clock: Clock,
    stages_ms: Mapping[str, float],
) -> str:
    """Backward or recomputation of each stage by one clock, in milliseconds."""
    where = _position(f"stages.{direction}", step, total)
    return f"{where} | clock={clock} | {_times(stages_ms)}"


def _times(spent_ms: Mapping[str, float]) -> str:
    """Times by name, the unnamed rest last."""
    last = [name for name in spent_ms if name in OTHERS]
    names = [*(name for name in spent_ms if name not in OTHERS), *last]
    return " ".join(f"{name}={spent_ms[name]:.1f}ms" for name in names)


def tags_line(step: int, tags: Sequence[str]) -> str:
    """The tags of a step, for readers of the log alone: statistics leave such steps out."""
    return f"[tags] step {step} | {','.join(tags)}"


def data_time_line(data_ms: float) -> str:
    """The mean wait for data."""
    return f"Avg data time: {data_ms:.1f}ms"


def memory_lines(label: str, figures: MemoryFigures) -> str:
    """The memory line, with the warning after it when the memory is nearly full.

    Args:
        label: What the figures belong to: `Step 100`, `After dataset creation`.
        figures: Sizes in bytes.
    """
    total = figures.system_total_bytes
    line = (
        f"[{label}] Memory - Process: {figures.process_bytes / MIB:.1f}MB"
        f" ({100 * figures.process_bytes / total:.1f}%),"
        f" System: {figures.system_used_bytes / GIB:.1f}/{total / GIB:.1f}GB"
        f" ({figures.system_percent:.1f}%)"
    )
    if figures.device_allocated_bytes is not None and figures.device_reserved_bytes is not None:
        line += (
            f", GPU: {figures.device_allocated_bytes / MIB:.1f}MB allocated,"
            f" {figures.device_reserved_bytes / MIB:.1f}MB reserved"
        )
    if figures.pressure_percent > CRITICAL_MEMORY_PERCENT:
        line += (
            "\n⚠️  WARNING: System memory usage is critically high"
            f" ({figures.pressure_percent:.1f}%)!"
            f"\n   Consider reducing {figures.reducible}."
        )
    return line


def progress_line(step: int, total: int, elapsed_s: float, eta_s: float | None) -> str:
    """How far the training is, and how long it takes; `eta_s` of None is not known yet."""
    share = min(1.0, step / total) if total else 1.0
    filled = int(share * _BAR_CELLS)
    bar = "#" * filled + "." * (_BAR_CELLS - filled)
    eta = "?" if eta_s is None else clock_text(eta_s)
    elapsed = clock_text(elapsed_s)
    return f"[progress] {step}/{total} [{bar}] {100 * share:5.1f}% | elapsed={elapsed} | eta={eta}"


def epoch_line(
    epoch: int,
    *,
    steps: int,
    losses: Mapping[str, float],
    lr: float,
    time_s: float,
    samples_per_s: float,
) -> str:
    """One epoch; `losses` holds `loss` and its terms."""
    terms = ", ".join(f"{name}={value:.4f}" for name, value in losses.items() if name != "loss")
    loss = f"loss={losses['loss']:.4f}" + (f" ({terms})" if terms else "")
    return (
        f"[epoch] {epoch} | steps={steps} | {loss} | lr={lr:.2e}"
        f" | time={time_s:.1f}s | throughput={samples_per_s:.1f} samples/s"
    )


def validation_line(step: int, metrics: Mapping[str, float], before: Mapping[str, float]) -> str:
    """A validation.

    Args:
        step: The step after which it ran.
        metrics: Of the output, in the order to print: `PSNR_RGB`, `PSNR_Y` (dB), `SSIM_Y`.
        before: The same of the blurry input, for comparison; may be empty.
    """

    def text(values: Mapping[str, float]) -> str:
        return " ".join(
            f"{name}={value:.{2 if name.startswith('PSNR') else 4}f}"
            for name, value in values.items()
        )

    line = f"[val] step {step} | {text(metrics)}"
    return f"{line} | input {text(before)}" if before else line


def checkpoint_line(step: int, path: str) -> str:
    """A checkpoint that was written."""
    return f"[checkpoint] step {step} | {path}"


def numerics_line(step: int, what: str, first_bad: str | None, action: str) -> str:
    """A number that is none.

    Args:
        step: The step.
        what: What was found, as in `loss is nan`.
        first_bad: The first tensor that holds it, if it was found.
        action: What the trainer does about it.
    """
    where = "" if first_bad is None else f" (first bad tensor: {first_bad})"
    return f"[numerics] step {step}: {what}{where} {action}".rstrip()


def no_gpu_line(reason: str) -> str:
    """Said once where there is no GPU to sample."""
    return f"[resources] no NVIDIA GPU ({reason})"


def thinned_line(every_steps: object, cost_share: object, budget_share: object) -> str:
    """Said when the recorder has thinned itself out, or could not do so far enough.

    Args:
        every_steps: Stages are timed in every nth step; None: thinning does not help.
        cost_share: What recording cost, of a step, 0..1.
        budget_share: What it may cost.
    """

    def percent(share: object) -> str:
        return f"{100 * share:.2f} %" if isinstance(share, int | float) else "?"

    limit = f"PROFILING.BUDGET_SHARE={budget_share}"
    if every_steps is None:
        return f"[recorder] WARNING: recording costs {percent(cost_share)} of a step; {limit}"
    return (
        f"[recorder] recording cost {percent(cost_share)} of a step, {limit}: stages are timed in "
        f"one of {every_steps} steps from now on"
    )


def memory_warning(values: Mapping[str, object]) -> str:
    """Said before the kernel ends a process for memory; `values` are those of the event."""
    free, limit = _gib(values.get("free_bytes")), _gib(values.get("limit_bytes"))
    line = f"[memory] WARNING: {free} left of {limit} ({values.get('source')})"
    rate, seconds = values.get("bytes_per_s"), values.get("seconds_left")
    if rate is None or not isinstance(seconds, int | float):
        return f"{line}: when nothing is left, the kernel ends a process"
    line += f", {_rate(rate)} less: about {seconds:.0f} s until the kernel ends a process"
    growers = [_grower(values, f"grower{place}") for place in range(1, 5)]
    known = [each for each in growers if each]
    return f"{line}. Growing: {', '.join(known)}" if known else line


def _grower(values: Mapping[str, object], key: str) -> str:
    what, pid, rate = (values.get(f"{key}{ending}") for ending in ("", "_pid", "_bytes_per_s"))
    if what is None:
        return ""
    return f"{what}{'' if pid is None else f' {pid}'} by {_rate(rate)}"


def _rate(rate: object) -> str:
    return f"{rate / MIB:.1f} MiB/s" if isinstance(rate, int | float) else "?"


def _gib(size: object) -> str:
    return f"{size / GIB:.1f} GiB" if isinstance(size, int | float) else "?"


def shortened_line(values: Mapping[str, object]) -> str:
    """Said when fewer steps are traced than planned, so that the trace stays within its limit."""
    return profile_line(
        f"{values.get('steps')} of {values.get('planned_steps')} steps are kept: one is "
        f"{_mib(values.get('step_bytes'))}, the limit {_mib(values.get('limit_bytes'))}"
    )


def written_line(values: Mapping[str, object]) -> str:
    """What was traced, its size before compression, and for how long it held the training up."""
    size, limit = values.get("plain_bytes"), values.get("limit_bytes")
    larger = isinstance(size, int) and isinstance(limit, int) and size > limit
    return profile_line(
        f"steps {values.get('steps')} traced, {_mib(size)} before compression"
        f"{', more than PROFILING.MAX_TRACE_MIB' if larger else ''}; "
        f"the export took {values.get('export_ms')} ms"
    )


def _mib(size: object) -> str:
    return f"{size / MIB:.1f} MiB" if isinstance(size, int) else "?"


def profile_line(text: str) -> str:
    """What became of the torch profiler's trace."""
    return f"[profile] {text}"


def end_line(
    status: Literal["finished", "interrupted", "failed"], steps: int, elapsed_s: float
) -> str:
    """The last line of a log."""
    return f"[end] {status} | steps={steps} | elapsed={clock_text(elapsed_s)}"


def clock_text(seconds: float) -> str:
    """`H:MM:SS`; hours are not bounded."""
    hours, rest = divmod(max(0, round(seconds)), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _position(name: str, step: int, total: int | None) -> str:
    return f"{name} {step}" if total is None else f"{name} {step}/{total}"
