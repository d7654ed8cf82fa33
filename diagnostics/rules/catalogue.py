"""Every rule, once. A new rule is a file of its own, its cases, and one line here."""

from diagnostics.rules.communication.communication_exposed import CommunicationExposed
from diagnostics.rules.communication.data_parallel_threads import DataParallelThreads
from diagnostics.rules.communication.rank_straggling import RankStraggling
from diagnostics.rules.communication.slow_backend import SlowBackend
from diagnostics.rules.configuration.training_slow import TrainingSlow
from diagnostics.rules.data_loading.cache_hit_rate_low import CacheHitRateLow
from diagnostics.rules.data_loading.copies_not_pinned import CopiesNotPinned
from diagnostics.rules.data_loading.data_loading_exposed import DataLoadingExposed
from diagnostics.rules.data_loading.loader_in_training_process import LoaderInTrainingProcess
from diagnostics.rules.device_memory.device_memory_exhausted import DeviceMemoryExhausted
from diagnostics.rules.device_memory.device_memory_near_limit import DeviceMemoryNearLimit
from diagnostics.rules.device_use.allocator_calls_in_step import AllocatorCallsInStep
from diagnostics.rules.device_use.copies_from_pageable_memory import CopiesFromPageableMemory
from diagnostics.rules.device_use.copies_not_hidden import CopiesNotHidden
from diagnostics.rules.device_use.device_often_idle import DeviceOftenIdle
from diagnostics.rules.device_use.garbage_collection_pauses import GarbageCollectionPauses
from diagnostics.rules.device_use.gpu_busy_but_slow import GpuBusyButSlow
from diagnostics.rules.device_use.gpu_utilisation_low import GpuUtilisationLow
from diagnostics.rules.device_use.launch_bound import LaunchBound
from diagnostics.rules.device_use.python_between_launches import PythonBetweenLaunches
from diagnostics.rules.device_use.results_fetched_in_step import ResultsFetchedInStep
from diagnostics.rules.device_use.synchronisation_in_step import SynchronisationInStep
from diagnostics.rules.host_memory.host_memory_exhausted import HostMemoryExhausted
from diagnostics.rules.host_memory.host_memory_growing import HostMemoryGrowing
from diagnostics.rules.host_memory.host_memory_near_limit import HostMemoryNearLimit
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
from diagnostics.rules.machine.several_jobs import SEVERAL_JOBS
from diagnostics.rules.machine.shared_memory import TINY_SHARED_MEMORY
from diagnostics.rules.numerics.amp_overflows_often import AmpOverflowsOften
from diagnostics.rules.numerics.gradient_norm_extreme import GradientNormExtreme
from diagnostics.rules.numerics.loss_not_finite import LossNotFinite
from diagnostics.rules.numerics.quality_dropped import QualityDropped
from diagnostics.rules.rule import Documented, Rule
from diagnostics.rules.trust.host_clock_on_gpu import HostClockOnGpu
from diagnostics.rules.trust.phases_do_not_close import PhasesDoNotClose
from diagnostics.rules.trust.too_few_steps import TooFewSteps

CATALOGUE: tuple[Rule, ...] = (
    TrainingSlow(),
    RankStraggling(),
    CommunicationExposed(),
    SlowBackend(),
    DataParallelThreads(),
    DataLoadingExposed(),
    CacheHitRateLow(),
    CopiesNotPinned(),
    LoaderInTrainingProcess(),
    DeviceMemoryNearLimit(),
    DeviceMemoryExhausted(),
    GpuUtilisationLow(),
    GpuBusyButSlow(),
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
    StageDominatesForward(),
    MixedPrecisionOff(),
    ForwardSlow(),
    TensorCoresUnused(),
    KernelsTooShort(),
    TensorsCopiedOnDevice(),
    OptimizerByTensor(),
    GradientsClearedByKernels(),
    MultiprocessorsPartFilled(),
    LossNotFinite(),
    QualityDropped(),
    AmpOverflowsOften(),
    GradientNormExtreme(),
    PhasesDoNotClose(),
    TooFewSteps(),
    HostClockOnGpu(),
)
"""In the order of their codes."""

MACHINE_PATTERNS: tuple[Pattern, ...] = (
    NEARLY_FULL,
    SEVERAL_JOBS,
    TINY_SHARED_MEMORY,
    *FORECAST_PATTERNS.values(),
    CACHE_TOO_LARGE,
    TOO_MANY_WORKERS,
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
