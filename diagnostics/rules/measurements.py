"""The numbers that rules look at: one flat record of a run, filled from the analyses.

Rules see nothing else, so a test case is a few of these fields. None (or an empty mapping) means
that the number was not measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from diagnostics.analyses.launch import Launch
from diagnostics.rules.measured_course import CourseFields
from diagnostics.rules.measured_device import DeviceFields
from diagnostics.rules.measured_failure import FailureFields
from diagnostics.rules.measured_kill import KillFields
from diagnostics.rules.measured_loading import LoadingFields
from diagnostics.rules.measured_machine import MachineFields
from diagnostics.rules.trace_measurements import TraceMeasurements

MAX_SETTING = 1_000_000
"""Beyond it a setting is no number that advice can be built on."""


LOADER_KEYS = {
    "num_workers": "DATALOADER.TOTAL_WORKERS",
    "prefetch_factor": "DATALOADER.TRAIN_PREFETCH_FACTOR",
    "pin_memory": "DATALOADER.PIN_MEMORY",
    "persistent_workers": "DATALOADER.PERSISTENT_WORKERS",
}
"""The arguments of a DataLoader as our configuration spells them."""


@dataclass(frozen=True, kw_only=True)
class Measurements(
    CourseFields, DeviceFields, FailureFields, KillFields, LoadingFields, MachineFields
):
    """One run, measured. Times in ms per optimizer step, sizes in bytes, shares in 0..1.

    Steps and their times leave tagged steps out. Memory and utilisation hold for the whole run.
    `sources` maps a field's name to the file its value was read from.
    """

    device: Literal["cuda", "cpu"] | None = None
    clock: Literal["device", "host"] | None = None
    world_size: int | None = None
    compute_capability: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    """The configuration of our own trainer, with the YAML's own keys; empty when unknown."""
    launch: Launch | None = None
    """How our own trainer was started; None where the run does not tell."""
    is_own_loop: bool = False
    """Not our trainer but a loop of the user's, whose switches are not ours to know."""
    is_trainer_unknown: bool = False
    """Another's log, or a trace of whatever program: its switches are not ours, nor a loop's."""
    framework: str | None = None
    """Whose log it is, where it is another trainer's; named as its family."""
    is_log_unknown: bool = False
    """Nothing says which program wrote the log, and it states hardly a step."""
    has_facts: bool = False
    """The steps are those of a facts folder."""
    has_trace: bool = False
    """A trace was read, with a step or without."""
    loader: Mapping[str, int | None] = field(default_factory=dict)
    """Of such a loop: arguments of its DataLoader in each of its processes; empty when unknown."""
    ranks_per_machine: int = 1
    status: Literal["running", "finished", "interrupted", "failed"] | None = None

    trace: str | None = None
    """A profiler trace of the run, if there is one."""
    in_trace: TraceMeasurements | None = None
    """What profiler traces show, if any was read that has a step."""
    num_steps: int = 0
    num_excluded_steps: int = 0
    steps_left: int | None = None
    """Steps that the run still had to do after the last one measured."""
    step_ms: float | None = None
    phase_ms: Mapping[str, float] = field(default_factory=dict)
    """Mean of each phase; by device clock where there is one."""
    micro_batches: float | None = None
    """Forward passes of a step; `phase_ms` and `stage_ms` sum over them."""
    phase_gap_share: float | None = None
    """|step - sum of phases| / step."""
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    """Mean of each stage of the forward, `forward.other` among them."""
    stage_clock: Literal["device", "host"] | None = None
    leaves_fetch_out: bool = False
    """The log's data_time is known to begin after the batch was fetched."""
    data_time_ms: float | None = None
    """As the log states it."""
    wall_step_ms: float | None = None
    """A step by the log's progress lines."""
    timed_step_ms: float | None = None
    """A step as the log's samples/s count it."""
    untimed_ms: float | None = None
    """What of the step no time of the log holds."""
    untimed_low_ms: float | None = None
    """What of that is more than rounding."""
    rate_claims: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Samples/s as the log states them, as its times give them, and half a printed digit."""
    is_unsynchronised: bool = False
    """The log's trainer is known to have timed a GPU's stages by the host's clock alone."""
    stage_gap_share: float | None = None
    """|forward - sum of stages| / forward."""
    data_wait_exposed_ms: float | None = None
    """Wait for data during which the device had nothing to do; on a CPU, the whole wait."""
    data_wait_ms: float | None = None
    """The program's whole wait for data, hidden part included."""
    samples_per_s: float | None = None
    """Clips of all ranks per second."""

    rank_slowest: int | None = None
    """The rank that the others wait for."""
    rank_place: str = ""
    """Its device and machine; empty when unknown."""
    rank_cause: Literal["input", "compute", "communication"] | None = None
    rank_excess_ms: Mapping[str, float] = field(default_factory=dict)
    """Its times above the median of the other ranks, by cause."""
    rank_cost_ms: float | None = None
    rank_cost_low_ms: float | None = None
    """What of it is surely not chance."""
    rank_step_ms: float | None = None
    rank_slowest_share: float | None = None
    """Share of the compared steps in which it was the slowest."""
    num_rank_steps: int = 0
    ranks_not_compared: str | None = None
    """Why no rank is named in a run of several."""

    num_workers: int | None = None
    """Loader processes seen on this machine, or as configured if none were sampled."""
    cpus_allowed: int | None = None
    host_cpu_percent: float | None = None
    cache_hit_rate: float | None = None
    cache_num_reads: int | None = None
    cache_used_bytes: int | None = None
    cache_limit_bytes: int | None = None
    cache_no_room: int | None = None

    loading_shares: Mapping[str, float] = field(default_factory=dict)
    """Parts of making a batch, `other` among them, as shares of it."""
    making_core_share: float | None = None
    """Of the time that making a batch takes, what its process computes at most."""
    loader_process_bytes: int | None = None
    """Resident memory of one loading process when all of them had most."""
    loader_supply_ms: float | None = None
    """Mean time between two batches that the loading processes of a rank can deliver."""
    fetch_empty_share: float | None = None
    """Fetches that found no finished batch, of all where that is known."""
    copied_bytes_per_step: float | None = None
    copied_pinned_share: float | None = None
    """Of the bytes that a step copies to its device, those in pinned memory."""

    num_damaged_files: int | None = None
    """Files that could not be read; 0 where the run says so, None where it says nothing."""
    first_damaged_file: str | None = None
    """With what is wrong with it."""
    damaged_share: float | None = None
    """Of a split's samples, the worst split in its worst pass."""

    host_memory_peak_bytes: int | None = None
    """Largest use of the machine's memory, or of the container's where it has its own limit."""
    host_memory_limit_bytes: int | None = None
    mapped_memory_bytes: int | None = None
    """Files and shared memory of the run's processes, each added: its cache held no more."""
    host_memory_growth_bytes_per_step: float | None = None
    """Of what grows steadily, all together; 0 where nothing does."""
    host_memory_growth_of: Mapping[str, float] = field(default_factory=dict)
    """The same by who holds it."""
    host_memory_holder: str | None = None
    """What kind the one is that grows most, a `Holder` of `host_growth`."""
    host_memory_growth_is_private: bool | None = None
    """Whether the one that grows most shares that memory with nobody, so it is no cache."""
    host_memory_growth_steps: tuple[float, float] | None = None
    """The first and the last step between which all of it grows."""
    host_memory_steps_to_limit: float | None = None
    """Further steps until growth reaches the limit."""
    host_memory_course_steps: int | None = None
    """Steps that memory was followed over."""
    num_host_oom: int | None = None
    num_loaders_killed: int | None = None
    """Loader processes that ended by SIGKILL, which the kernel sends when memory runs out."""
    device_memory_peak_bytes: int | None = None
    """Largest use of the fullest device: what its driver says, else what PyTorch reserved."""
    device_memory_total_bytes: int | None = None
    device_alloc_retries: int | None = None
    num_device_oom: int | None = None
    gpu_util_percent: float | None = None
    """NVML utilisation, mean over time and GPUs; of the steps' time span."""

    num_nonfinite: int | None = None
    """Steps whose loss or gradients were not finite, float16 overflows apart."""
    first_nonfinite_step: int | None = None
    first_nonfinite_tensor: str | None = None
    num_amp_overflows: int | None = None
    """Updates left out because a scaled float16 gradient overflowed."""
    grad_norm_median: float | None = None
    grad_norm_max: float | None = None
    num_validations: int = 0
    psnr_last_db: float | None = None
    psnr_previous_db: float | None = None
    """Of the validation before the last."""
    psnr_best_db: float | None = None
    psnr_input_db: float | None = None

    sources: Mapping[str, str] = field(default_factory=dict)

    def source(self, field_name: str) -> str | None:
        """The file that a field's value was read from."""
        return self.sources.get(field_name)

    def setting(self, dotted_key: str) -> Any:
        """A value of the run's configuration, such as `TRAIN.AMP_ENABLED`; None when unknown."""
        node: Any = self.config
        for key in dotted_key.split("."):
            if not isinstance(node, Mapping) or key not in node:
                return None
            node = node[key]
        return node

    def whole_setting(self, dotted_key: str) -> int | None:
        """A setting that is a whole number of sensible size; None when it is anything else."""
        value = self.setting(dotted_key)
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        return value if 0 <= value <= MAX_SETTING else None

    def number_setting(self, dotted_key: str) -> float | None:
        """A setting that is a number of sensible size; None when it is anything else."""
        value = self.setting(dotted_key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return value if 0 <= value <= MAX_SETTING else None

    def loader_setting(self, argument: str) -> int | None:
        """An argument of the DataLoader, such as `prefetch_factor`; None when unknown."""
        if self.is_own_loop:
            return self.loader.get(argument)
        value = self.setting(LOADER_KEYS[argument])
        return int(value) if isinstance(value, bool) else self.whole_setting(LOADER_KEYS[argument])

    def loader_key(self, argument: str) -> str:
        """Where that argument is set: a key of our configuration, or the loop's own source.

        A trace without a configuration may be of any loop.
        """
        is_anyones = self.is_own_loop or (self.is_trainer_unknown and not self.config)
        is_ours = not is_anyones and (self.config or self.in_trace is None)
        return LOADER_KEYS[argument] if is_ours else f"DataLoader.{argument}"

    def phase_share(self, phase: str) -> float | None:
        """A phase's share of the step."""
        value = self.phase_ms.get(phase)
        if value is None or not self.step_ms:
            return None
        return value / self.step_ms

    @property
    def host_memory_share(self) -> float | None:
        """Largest use of host memory, as a share of what there is."""
        if self.host_memory_peak_bytes is None or not self.host_memory_limit_bytes:
            return None
        return self.host_memory_peak_bytes / self.host_memory_limit_bytes

    @property
    def host_memory_free_bytes(self) -> int | None:
        """What was left of host memory when most of it was in use."""
        if self.host_memory_peak_bytes is None or self.host_memory_limit_bytes is None:
            return None
        return max(0, self.host_memory_limit_bytes - self.host_memory_peak_bytes)

    @property
    def forward_ms_per_pass(self) -> float | None:
        """Mean of one forward pass, for limits that speak of a single one."""
        if self.forward_ms is None or not self.micro_batches:
            return None
        return self.forward_ms / self.micro_batches

    @property
    def staged_forward_ms(self) -> float | None:
        """Mean forward of the very steps whose stages were timed: not all are, in a thinned run."""
        if "forward.other" in self.stage_ms:
            return sum(self.stage_ms.values())
        return self.forward_ms

    @property
    def forward_ms(self) -> float | None:
        """Mean of the forward phase."""
        return self.phase_ms.get("forward")
