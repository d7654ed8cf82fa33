"""What a configuration file may say about logging and recording (`LOG`, `PROFILING`)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """`LOG`: what is written where and how often; all intervals are in optimizer steps.

    `save_dir` holds logs and checkpoints, `profiles_dir` one folder of facts for each run.
    `keep_runs` of null keeps every run; n keeps the n newest folders under `profiles_dir`.
    """

    save_dir: str = "outputs"
    profiles_dir: str = "profiles"
    tensorboard: bool = True
    progress_every_steps: int = 20
    step_every_steps: int = 10
    stage_every_steps: int = 10
    data_time_every_steps: int = 50
    memory_every_steps: int = 100
    val_every_steps: int = 1000
    checkpoint_every_steps: int = 1000
    keep_runs: int | None = None
    redact: bool = False

    def __post_init__(self) -> None:
        for name in (
            "progress_every_steps",
            "step_every_steps",
            "stage_every_steps",
            "data_time_every_steps",
            "memory_every_steps",
            "val_every_steps",
            "checkpoint_every_steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.keep_runs is not None and self.keep_runs < 1:
            raise ValueError(f"keep_runs: must be null or at least 1, got {self.keep_runs}")


@dataclass(frozen=True, kw_only=True)
class ProfilingConfig:
    """`PROFILING`: the torch profiler's schedule and the resource sampler.

    The schedule counts this run's own optimizer steps, so it also holds right after a resume:
    `wait` steps untouched, `warmup` steps traced and thrown away, `active` steps kept, `repeat`
    times. `ranks` are traced: `all`, or a list. A trace larger than `max_trace_mib` before its
    compression is kept to fewer steps, if there is a warm-up to tell; null sets no limit.
    `with_modules` is of use for TorchScript only: of other models PyTorch records no modules, but
    the stages have their names in the trace, and `with_stack` shows modules among its frames.
    `nvtx` opens NVTX ranges of the same names in every step, for a profiler outside the process.
    `resources` off records no machine load. `budget_share` is the share of a step that the
    recorder may cost on the host before it times the stages in fewer steps; null sets no limit.

    `black_box` keeps the last `black_box_steps` steps and writes at most `black_box_files` files
    when something goes wrong; a run that stands still for `hang_after_s` at least counts as hung.
    `memory_history` is how many allocations and frees of a GPU are remembered for a memory
    snapshot; 0 remembers none.
    """

    wait: int = 5
    warmup: int = 2
    active: int = 5
    record_shapes: bool = False
    profile_memory: bool = False
    with_stack: bool = False
    with_modules: bool = False
    repeat: int = 1
    ranks: Literal["all"] | tuple[int, ...] = (0,)
    max_trace_mib: int | None = 1024
    nvtx: bool = False
    resources: bool = True
    resource_interval_s: float = 0.2
    black_box: bool = True
    black_box_steps: int = 64
    black_box_files: int = 20
    hang_after_s: float = 30.0
    memory_history: int = 0
    budget_share: float | None = 0.005

    def __post_init__(self) -> None:
        if self.budget_share is not None and not 0 < self.budget_share <= 1:
            raise ValueError(f"budget_share: must be null or in (0, 1], got {self.budget_share}")
        if self.wait < 0 or self.warmup < 0:
            raise ValueError("wait, warmup: must not be negative")
        for name in ("active", "repeat"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.ranks != "all" and not _are_ranks(self.ranks):
            raise ValueError("ranks: must be all or a list of ranks, such as [0, 3]")
        if self.max_trace_mib is not None and self.max_trace_mib < 1:
            raise ValueError(f"max_trace_mib: must be null or at least 1, got {self.max_trace_mib}")
        if not 0.05 <= self.resource_interval_s <= 3600:
            raise ValueError(
                f"resource_interval_s: must lie in [0.05, 3600], got {self.resource_interval_s}"
            )
        for name, least, most in (
            ("black_box_steps", 1, 1000),
            ("black_box_files", 2, 1000),
            ("hang_after_s", 1.0, 86_400.0),
            ("memory_history", 0, 1_000_000),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(
                    f"{name}: must lie in [{least}, {most}], got {getattr(self, name)}"
                )


def _are_ranks(value: object) -> bool:
    """A configuration file is checked for its types; what a caller gives by keyword is not."""
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(rank, int) and rank >= 0 for rank in value)
    )
