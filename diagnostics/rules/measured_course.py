"""What rules look at of a run's course, part of `Measurements`: rhythm, time outside, learning."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CourseFields:
    """Times in ms, whole steps by the host's clock; None was not recorded, or too few steps."""

    num_rhythm_steps: int = 0
    step_median_ms: float | None = None
    step_mean_ms: float | None = None
    step_p95_ms: float | None = None
    step_drift_share: float | None = None
    """Growth of a step from the first to the last, as a share of the first."""
    step_drift_low_share: float | None = None
    num_slow_steps: int | None = None
    slow_steps_cost_ms: float | None = None
    """Their time above the median, shared by all steps."""
    slow_steps_every: int | None = None
    """Their period; None where they have none."""
    slow_steps_phase: str | None = None
    num_gc_steps: int | None = None
    gc_cost_ms: float | None = None
    num_compile_steps: int | None = None
    compile_cost_ms: float | None = None
    last_compile_step: int | None = None

    wall_s: float | None = None
    num_all_steps: int = 0
    first_step_after_s: float | None = None
    num_validation_spans: int = 0
    validation_ms: float | None = None
    """Time of all validations, shared by all steps; None without one."""
    validation_wall_share: float | None = None
    num_checkpoints: int = 0
    checkpoint_ms: float | None = None
    checkpoint_mean_ms: float | None = None
    checkpoint_wall_share: float | None = None
    unsaved_steps: int | None = None
    unsaved_s: float | None = None

    num_loader_starts: int | None = None
    """Starts of the loader after the first."""
    loader_start_ms: float | None = None
    loader_start_cost_ms: float | None = None
    """Of all starts, shared by all steps."""
    are_loader_starts_told: bool = False
    """The records name each start, however short."""
    made_ms: float | None = None
    """Mean time that one process takes for a batch."""
    made_p95_ms: float | None = None
    fetch_wait_p95_ms: float | None = None
    """Of the waits for single batches."""
    loaders_per_rank: float | None = None
    """Loading processes seen to make a rank's batches; 0 where the trainer makes them itself."""
    slowest_loader: str | None = None
    slowest_loader_ratio: float | None = None
    """Its mean making of a batch, of the others' median."""
    slowest_loader_ms: float | None = None

    num_rates: int = 0
    num_zero_rate: int | None = None
    num_norms: int = 0
    clipped_share: float | None = None
    num_late_losses: int = 0
    loss_change_share: float | None = None
    """Of the second half of the steps; below 0 the loss still falls."""
    loss_change_low_share: float | None = None
    loss_change_high_share: float | None = None
