"""What a training run will ask for: the facts that a forecast is made of.

The trainer's side fills these in from its configuration; the tools know nothing of its code. All
sizes are bytes, unless a name says otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from diagnostics.analyses.loading_plan import LoadingPlan
from diagnostics.errors import DiagnosticsError
from diagnostics.language import say

Setting = bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class SettingChange:
    """A switch of the configuration, by its dotted YAML key."""

    key: str
    current: Setting
    proposed: Setting


@dataclass(frozen=True, kw_only=True)
class DataDemand:
    """The data set. `is_assumed`: nothing was found at `root`, published counts stand in.

    `decoded_frame_bytes` is what a cache keeps of one frame, `float_frame_bytes` the same frame as
    the performance guide counts it. `fast_store_bytes` is what reading a fast store fills of the
    page cache at most, 0 without one: no part of what must fit, since the system takes it back.
    `height` and `width` of a picture are pixels, `spike_bytes` what a cache keeps of a frame's
    spikes.
    """

    root: str
    is_assumed: bool
    train_frames: int
    val_frames: int
    train_samples: int
    val_samples: int
    decoded_frame_bytes: int
    float_frame_bytes: int
    fast_store_bytes: int = 0
    height: int | None = None
    width: int | None = None
    spike_bytes: int | None = None

    @property
    def decoded_train_bytes(self) -> int:
        """Everything the cache could hold once."""
        return self.train_frames * self.decoded_frame_bytes


@dataclass(frozen=True, kw_only=True)
class HitRate:
    """Hits per look-up, 0..1, of a cache of that many bytes: in the first epoch, and later.

    With more loading processes than cores a range stands beside each.
    """

    cache_bytes: int
    is_configured: bool
    first_epoch_share: float
    later_share: float
    first_epoch_range: tuple[float, float] | None = None
    later_range: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class LoaderDemand:
    """Loading processes and what they hold.

    `workers_setting` is as configured; `workers_per_rank` what comes of it, by `worker_rule`.
    Pinned sizes are None where nothing is pinned. `*_scratch_bytes` is what one process holds
    while it makes a batch, `worker_start_bytes` what it has of its own before the first.
    With `is_nameless`, batches are handed over in shared memory without a name, which the size of
    /dev/shm does not bound. `hit_rates` by size of the cache, in `sample_order`; empty where that
    was not gone through.
    """

    workers_setting: int | Literal["auto"]
    workers_per_rank: int
    worker_rule: str
    val_workers_per_rank: int
    train_prefetch: int
    val_prefetch: int
    train_batch_bytes: int
    val_batch_bytes: int
    pinned_train_batch_bytes: int | None
    pinned_val_batch_bytes: int | None
    worker_start_bytes: int
    train_scratch_bytes: int
    val_scratch_bytes: int
    use_cache: bool
    cache_gib: float
    is_nameless: bool = False
    sample_order: Literal["shuffled", "grouped"] = "shuffled"
    hit_rates: tuple[HitRate, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelDemand:
    """One rank's network in training.

    `activation_bytes` is kept from forward to backward, `transient_bytes` the largest moment
    beside it, `validation_bytes` the same without gradients. `overhead_bytes` is what the allocator
    keeps beyond live tensors, and what the device's own runtime takes.
    """

    parameters: int
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    low_precision_weight_bytes: int
    batch_bytes: int
    activation_bytes: int
    transient_bytes: int
    validation_bytes: int
    overhead_bytes: int

    @property
    def working_bytes(self) -> int:
        """The larger of a training step and a validation, which never run at once."""
        training = self.batch_bytes + self.activation_bytes + self.transient_bytes
        return max(training, self.validation_bytes)

    @property
    def total_bytes(self) -> int:
        """All of it at the peak."""
        lasting = self.weight_bytes + self.gradient_bytes + self.optimizer_bytes
        lasting += self.low_precision_weight_bytes + self.overhead_bytes
        return lasting + self.working_bytes


@dataclass(frozen=True, kw_only=True)
class ModelChange:
    """The network after some switches were changed; each entry of a list goes further."""

    changes: tuple[SettingChange, ...]
    model: ModelDemand


@dataclass(frozen=True, kw_only=True)
class StageDemand:
    """One stage of the network for one batch of one rank."""

    name: str
    parameters: int
    forward_flops: int
    saved_bytes: int


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Everything one machine is asked for. `uncounted` names what the figures leave out.

    `machines` like it run together. Of its processes, `library_bytes` are shared by all,
    `launcher_bytes` belong to what starts the ranks, and `old_pages_bytes` are kept by the loading
    processes of a rank together, of pages that it has changed since they were forked.
    `settings` is the whole configuration with the YAML's own keys, every default spelled out.
    With `are_sizes_assumed` the sizes of processes were measured on another machine, here not,
    because of `sizes_assumed_because`.
    """

    config: str
    device: Literal["cpu", "cuda"]
    ranks: int
    data: DataDemand
    loader: LoaderDemand
    model: ModelDemand
    model_changes: tuple[ModelChange, ...]
    stages: tuple[StageDemand, ...]
    trainer_start_bytes: int
    sampler_bytes: int
    sources: Mapping[str, str]
    machines: int = 1
    library_bytes: int = 0
    launcher_bytes: int = 0
    old_pages_bytes: int = 0
    are_sizes_assumed: bool = False
    sizes_assumed_because: str | None = None
    loading_plan: LoadingPlan | None = None
    uncounted: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def setting(self, dotted_key: str) -> Any:
        """A value of the configuration, such as `TRAIN.AMP_ENABLED`; None when it is not known."""
        node: Any = self.settings
        for key in dotted_key.split("."):
            if not isinstance(node, Mapping) or key not in node:
                return None
            node = node[key]
        return node


def demand_from_mapping(mapping: Mapping[str, Any]) -> Demand:
    """The demand as plain data, checked.

    Raises:
        DiagnosticsError: a key is missing or of another type: trainer and tools do not match.
    """
    try:
        return msgspec.convert(mapping, Demand)
    except msgspec.ValidationError as error:
        raise DiagnosticsError(
            say("the forecast's input does not fit this version: {error}", error=error)
        ) from None
