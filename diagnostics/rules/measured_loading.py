"""What rules look at of where data comes from, part of `Measurements`: storage, epochs, frames."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LoadingFields:
    """Of the whole run; None was not recorded."""

    storage_bytes_per_s: float | None = None
    """Read from disks and servers by all loading processes together."""
    storage_bytes_per_batch: float | None = None
    validation_bytes: float | None = None
    """Fetched from disks and servers by each validation, on average."""
    validation_s: float | None = None
    """How long those validations took, each."""
    validation_cores: float | None = None
    """Mean cores that the run kept busy meanwhile."""
    steps_per_epoch: float | None = None
    first_pass_steps: int | None = None
    """Steps until every sample was read once."""
    first_wait_ms: float | None = None
    """The exposed wait for data in those steps, of each."""
    first_step_ms: float | None = None
    later_wait_ms: float | None = None
    """The same in the steps after them; None where there are too few."""
    later_step_ms: float | None = None
    later_fetch_wait_ms: float | None = None
    """The host's wait for one batch there."""
    steps_planned: int | None = None
    """Of this run."""
    first_read_share: float | None = None
    """Different frames of the data set / frames that an epoch reads."""
    data_file_bytes: float | None = None
    data_decoded_bytes: float | None = None
    """All frames as a cache keeps them."""
