"""Every rule, once. A new rule is a file of its own, its cases, and one line here."""

from diagnostics.rules.communication.communication_exposed import CommunicationExposed
from diagnostics.rules.communication.data_parallel_threads import DataParallelThreads
from diagnostics.rules.communication.exchange_exposed import ExchangeExposed
from diagnostics.rules.communication.exchange_in_each_pass import ExchangeInEachPass
from diagnostics.rules.communication.rank_straggling import RankStraggling
from diagnostics.rules.communication.slow_backend import SlowBackend
from diagnostics.rules.configuration.checkpoint_overdue import CheckpointOverdue
from diagnostics.rules.configuration.garbage_collection_slow import GarbageCollectionSlow
from diagnostics.rules.configuration.machine_not_watched import MachineNotWatched
from diagnostics.rules.configuration.saving_slow import SavingSlow
from diagnostics.rules.configuration.start_slow import StartSlow
from diagnostics.rules.configuration.steps_drifting import StepsDrifting
from diagnostics.rules.configuration.steps_slow_in_turn import StepsSlowInTurn
from diagnostics.rules.configuration.steps_uneven import StepsUneven
from diagnostics.rules.configuration.training_slow import TrainingSlow
from diagnostics.rules.configuration.validation_expensive import ValidationExpensive
from diagnostics.rules.data_loading.cache_hit_rate_low import CacheHitRateLow
from diagnostics.rules.data_loading.copies_not_pinned import CopiesNotPinned
from diagnostics.rules.data_loading.data_loading_exposed import DataLoadingExposed
from diagnostics.rules.data_loading.epoch_start_slow import EpochStartSlow
from diagnostics.rules.data_loading.first_epoch_waits import FirstEpochWaits
from diagnostics.rules.data_loading.loader_in_training_process import LoaderInTrainingProcess
from diagnostics.rules.data_loading.loading_process_slow import LoadingProcessSlow
from diagnostics.rules.data_loading.samples_damaged import SamplesDamaged
from diagnostics.rules.device_memory.allocator_fragmented import AllocatorFragmented
from diagnostics.rules.device_memory.device_memory_exhausted import DeviceMemoryExhausted
from diagnostics.rules.device_memory.device_memory_growing import DeviceMemoryGrowing
from diagnostics.rules.device_memory.device_memory_near_limit import DeviceMemoryNearLimit
from diagnostics.rules.device_memory.device_memory_near_limit_in_trace import (
    DeviceMemoryNearLimitInTrace,
)
from diagnostics.rules.device_memory.recompute_with_room import RecomputeWithRoom
from diagnostics.rules.device_use.allocator_calls_in_step import AllocatorCallsInStep
from diagnostics.rules.device_use.batch_small_for_device import BatchSmallForDevice
from diagnostics.rules.device_use.copies_below_bus_speed import CopiesBelowBusSpeed
from diagnostics.rules.device_use.copies_from_pageable_memory import CopiesFromPageableMemory
from diagnostics.rules.device_use.copies_not_hidden import CopiesNotHidden
from diagnostics.rules.device_use.device_often_idle import DeviceOftenIdle
from diagnostics.rules.device_use.garbage_collection_pauses import GarbageCollectionPauses
from diagnostics.rules.device_use.gpu_busy_but_slow import GpuBusyButSlow
from diagnostics.rules.device_use.gpu_clock_limited import GpuClockLimited
from diagnostics.rules.device_use.gpu_shared import GpuShared
from diagnostics.rules.device_use.gpu_throttled import GpuThrottled
from diagnostics.rules.device_use.gpu_utilisation_low import GpuUtilisationLow
from diagnostics.rules.device_use.launch_bound import LaunchBound
from diagnostics.rules.device_use.python_between_launches import PythonBetweenLaunches
from diagnostics.rules.device_use.results_fetched_in_step import ResultsFetchedInStep
from diagnostics.rules.device_use.synchronisation_in_step import SynchronisationInStep
from diagnostics.rules.host_memory.host_memory_exhausted import HostMemoryExhausted
from diagnostics.rules.host_memory.host_memory_growing import HostMemoryGrowing
from diagnostics.rules.host_memory.host_memory_near_limit import HostMemoryNearLimit
from diagnostics.rules.host_memory.killed_for_memory import KilledForMemory
from diagnostics.rules.host_memory.memory_read_from_swap import MemoryReadFromSwap
from diagnostics.rules.host_memory.shared_memory_near_limit import SharedMemoryNearLimit
from diagnostics.rules.kernels.compiled_again import CompiledAgain
from diagnostics.rules.kernels.forward_slow import ForwardSlow
from diagnostics.rules.kernels.gradients_cleared_by_kernels import GradientsClearedByKernels
from diagnostics.rules.kernels.kernels_too_short import KernelsTooShort
from diagnostics.rules.kernels.mixed_precision_off import MixedPrecisionOff
from diagnostics.rules.kernels.multiprocessors_part_filled import MultiprocessorsPartFilled
from diagnostics.rules.kernels.optimizer_by_tensor import OptimizerByTensor
from diagnostics.rules.kernels.stage_dominates_forward import StageDominatesForward
from diagnostics.rules.kernels.tensor_cores_unused import TensorCoresUnused
from diagnostics.rules.kernels.tensors_copied_on_device import TensorsCopiedOnDevice
from diagnostics.rules.machine.forecast_patterns import FORECAST_PATTERNS
from diagnostics.rules.machine.guide_limits import CACHE_TOO_LARGE, TOO_MANY_WORKERS
from diagnostics.rules.machine.host_pressure import NEARLY_FULL
from diagnostics.rules.machine.pattern import Pattern
from diagnostics.rules.machine.planned_cache import CACHE_OFF
from diagnostics.rules.machine.planned_cuts import BEYOND_CONSERVATIVE
from diagnostics.rules.machine.planned_loading import LOADING_SLOWER
from diagnostics.rules.machine.planned_training import MONITORING_OFF, PRECISION_OFF
from diagnostics.rules.machine.planned_workers import FEW_WORKERS, NOT_PERSISTENT
from diagnostics.rules.machine.several_jobs import SEVERAL_JOBS
from diagnostics.rules.machine.shared_memory import TINY_SHARED_MEMORY
from diagnostics.rules.machine.snapshot_findings import ADDS_UP, IN_PIECES
from diagnostics.rules.machine.watched_growth import WATCHED_GROWTH
from diagnostics.rules.machine_load.cores_oversubscribed import CoresOversubscribed
from diagnostics.rules.machine_load.cpu_quota_throttled import CpuQuotaThrottled
from diagnostics.rules.machine_load.cpu_saturated import CpuSaturated
from diagnostics.rules.machine_load.disk_saturated import DiskSaturated
from diagnostics.rules.machine_load.machine_contended import MachineContended
from diagnostics.rules.machine_load.one_core_full import OneCoreFull
from diagnostics.rules.numerics.amp_overflows_often import AmpOverflowsOften
from diagnostics.rules.numerics.gradient_always_clipped import GradientAlwaysClipped
from diagnostics.rules.numerics.gradient_norm_extreme import GradientNormExtreme
from diagnostics.rules.numerics.learning_rate_zero import LearningRateZero
from diagnostics.rules.numerics.loss_not_finite import LossNotFinite
from diagnostics.rules.numerics.loss_stands_still import LossStandsStill
from diagnostics.rules.numerics.quality_dropped import QualityDropped
from diagnostics.rules.rule import Documented, Rule
from diagnostics.rules.trust.fetch_not_timed import FetchNotTimed
from diagnostics.rules.trust.host_clock_on_gpu import HostClockOnGpu
from diagnostics.rules.trust.phases_do_not_close import PhasesDoNotClose
from diagnostics.rules.trust.rates_contradict import RatesContradict
from diagnostics.rules.trust.too_few_steps import TooFewSteps

CATALOGUE: tuple[Rule, ...] = (
    TrainingSlow(),
    ValidationExpensive(),
    SavingSlow(),
    StepsDrifting(),
    StepsSlowInTurn(),
    StepsUneven(),
    GarbageCollectionSlow(),
    StartSlow(),
    CheckpointOverdue(),
    MachineNotWatched(),
    RankStraggling(),
    ExchangeExposed(),
    ExchangeInEachPass(),
    CommunicationExposed(),
    SlowBackend(),
    DataParallelThreads(),
    DataLoadingExposed(),
    CacheHitRateLow(),
    CopiesNotPinned(),
    EpochStartSlow(),
    LoadingProcessSlow(),
    SamplesDamaged(),
    FirstEpochWaits(),
    LoaderInTrainingProcess(),
    DeviceMemoryNearLimit(),
    DeviceMemoryExhausted(),
    DeviceMemoryGrowing(),
    AllocatorFragmented(),
    RecomputeWithRoom(),
    DeviceMemoryNearLimitInTrace(),
    GpuUtilisationLow(),
    GpuBusyButSlow(),
    BatchSmallForDevice(),
    GpuThrottled(),
    GpuClockLimited(),
    GpuShared(),
    CopiesBelowBusSpeed(),
    DeviceOftenIdle(),
    SynchronisationInStep(),
    AllocatorCallsInStep(),
    LaunchBound(),
    PythonBetweenLaunches(),
    GarbageCollectionPauses(),
    ResultsFetchedInStep(),
    CopiesFromPageableMemory(),
    CopiesNotHidden(),
    HostMemoryNearLimit(),
    HostMemoryGrowing(),
    HostMemoryExhausted(),
    MemoryReadFromSwap(),
    SharedMemoryNearLimit(),
    KilledForMemory(),
    StageDominatesForward(),
    MixedPrecisionOff(),
    ForwardSlow(),
    CompiledAgain(),
    TensorCoresUnused(),
    KernelsTooShort(),
    TensorsCopiedOnDevice(),
    OptimizerByTensor(),
    GradientsClearedByKernels(),
    MultiprocessorsPartFilled(),
    CpuSaturated(),
    MachineContended(),
    CoresOversubscribed(),
    CpuQuotaThrottled(),
    DiskSaturated(),
    OneCoreFull(),
    LossNotFinite(),
    QualityDropped(),
    AmpOverflowsOften(),
    GradientNormExtreme(),
    LossStandsStill(),
    LearningRateZero(),
    GradientAlwaysClipped(),
    PhasesDoNotClose(),
    TooFewSteps(),
    HostClockOnGpu(),
    FetchNotTimed(),
    RatesContradict(),
)
"""In the order of their codes."""

MACHINE_PATTERNS: tuple[Pattern, ...] = (
    NEARLY_FULL,
    SEVERAL_JOBS,
    WATCHED_GROWTH,
    TINY_SHARED_MEMORY,
    *FORECAST_PATTERNS.values(),
    CACHE_TOO_LARGE,
    TOO_MANY_WORKERS,
    PRECISION_OFF,
    CACHE_OFF,
    FEW_WORKERS,
    NOT_PERSISTENT,
    MONITORING_OFF,
    BEYOND_CONSERVATIVE,
    LOADING_SLOWER,
    IN_PIECES,
    ADDS_UP,
)
"""What `diagnose_memory.py` looks for in a machine and in a forecast, not in a run."""

DOCUMENTED: tuple[Documented, ...] = tuple(
    sorted((*CATALOGUE, *MACHINE_PATTERNS), key=lambda each: each.code)
)
"""Whatever has a page, in the order of the codes."""


def find_rule(wanted: str) -> Rule | None:
    """The rule of a code or a name, whatever the case; None if there is none."""
    return next((rule for rule in CATALOGUE if _is_called(rule, wanted)), None)


def find_documented(wanted: str) -> Documented | None:
    """As `find_rule`, among all that has a page."""
    return next((each for each in DOCUMENTED if _is_called(each, wanted)), None)


def _is_called(each: Documented, wanted: str) -> bool:
    return wanted.strip().lower() in (each.code.lower(), each.name)
