"""All analyses of one run, in one value: what rules and reports read."""

from dataclasses import dataclass, field

from diagnostics.analyses.allocation_failures import (
    AllocationFailure,
    compute_allocation_failures,
)
from diagnostics.analyses.audit import audit_run
from diagnostics.analyses.audit_doubt import Audit
from diagnostics.analyses.black_boxes import BlackBoxes, compute_black_boxes
from diagnostics.analyses.cache_use import CacheUse, compute_cache_use
from diagnostics.analyses.communication import CommunicationUse, compute_communication
from diagnostics.analyses.core_use import CoreUse, compute_core_use
from diagnostics.analyses.course_shape import CourseShape
from diagnostics.analyses.course_shapes import compute_course_shapes
from diagnostics.analyses.damaged_samples import DamagedSamples, compute_damaged_samples
from diagnostics.analyses.data_set import DataSet, compute_data_set
from diagnostics.analyses.device_growth import DeviceGrowth, compute_device_growth
from diagnostics.analyses.device_memory import DeviceMemory, compute_device_memory
from diagnostics.analyses.epoch_waits import EpochWaits, compute_epoch_waits
from diagnostics.analyses.fact_partition import FactPartition, partition_facts
from diagnostics.analyses.host_growth import HostGrowth, compute_host_growth
from diagnostics.analyses.kill_account import KillAccount, compute_kill_account
from diagnostics.analyses.loader_starts import LoaderStarts, compute_loader_starts
from diagnostics.analyses.loading import Loading, compute_loading
from diagnostics.analyses.log_claims import LogClaims, compute_log_claims
from diagnostics.analyses.making_cpu import MakingCpu, compute_making_cpu
from diagnostics.analyses.memory_course import MemoryCourse, compute_memory_courses
from diagnostics.analyses.memory_warnings import MemoryWarningSeen, compute_memory_warnings
from diagnostics.analyses.outside_steps import OutsideSteps, compute_outside_steps
from diagnostics.analyses.quality import Quality, compute_quality
from diagnostics.analyses.ranking import Ranking, compute_ranking
from diagnostics.analyses.ranks import Ranks, compute_ranks
from diagnostics.analyses.recorder_cost import RecorderCost, compute_recorder_cost
from diagnostics.analyses.resources import Resources, compute_resources
from diagnostics.analyses.run_end import RunEnd, compute_run_end
from diagnostics.analyses.stage_totals import StageTotal, compute_stage_totals
from diagnostics.analyses.step_breakdown import StepBreakdown, compute_step_breakdown
from diagnostics.analyses.step_rhythm import StepRhythm, compute_step_rhythm
from diagnostics.analyses.storage_reads import StorageReads, compute_storage_reads
from diagnostics.analyses.throughput import Throughput, compute_throughput
from diagnostics.analyses.trace_analysis import TraceAnalysis
from diagnostics.analyses.trace_ranks import TraceRanks, compare_trace_ranks
from diagnostics.analyses.trace_summary import TraceSummary, summarise_traces
from diagnostics.analyses.validation_reads import ValidationReads, compute_validation_reads
from diagnostics.analyses.worker_plan import WorkerPlan, compute_worker_plan
from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class RunAnalysis:
    """What the analyses found.

    `cache` is None when no statistics of a cache were left, `recorder_cost` for a text log,
    `communication` when no rank exchanged anything, `loader_starts` when nothing watched a loader,
    `kill` when no process of the run was lost.
    """

    breakdown: StepBreakdown
    ranking: Ranking
    throughput: Throughput
    memory: tuple[MemoryCourse, ...]
    resources: Resources
    quality: Quality
    cache: CacheUse | None
    end: RunEnd
    recorder_cost: RecorderCost | None
    black_boxes: BlackBoxes
    loading: Loading
    ranks: Ranks
    communication: CommunicationUse | None
    traces: tuple[TraceAnalysis, ...] = ()
    log_claims: LogClaims = field(default_factory=LogClaims)
    audit: Audit = field(default_factory=Audit)
    trace_summary: TraceSummary | None = None
    trace_ranks: TraceRanks = field(default_factory=TraceRanks)
    fact_partition: FactPartition = field(default_factory=FactPartition)
    stage_totals: tuple[StageTotal, ...] = ()
    device_memory: tuple[DeviceMemory, ...] = ()
    rhythm: StepRhythm = field(default_factory=StepRhythm)
    outside: OutsideSteps = field(default_factory=OutsideSteps)
    core_use: tuple[CoreUse, ...] = ()
    loader_starts: LoaderStarts | None = None
    damaged: DamagedSamples | None = None
    worker_plan: WorkerPlan | None = None
    kill: KillAccount | None = None
    memory_shapes: tuple[CourseShape, ...] = ()
    host_growth: HostGrowth = field(default_factory=HostGrowth)
    device_growth: DeviceGrowth = field(default_factory=DeviceGrowth)
    allocation_failures: tuple[AllocationFailure, ...] = ()
    memory_warnings: tuple[MemoryWarningSeen, ...] = ()
    making_cpu: MakingCpu | None = None
    data_set: DataSet | None = None
    epoch_waits: EpochWaits | None = None
    storage_reads: StorageReads | None = None
    validation_reads: ValidationReads | None = None


def analyse_run(run: Run, traces: tuple[TraceAnalysis, ...] = ()) -> RunAnalysis:
    """Every analysis of the run, put beside those of its traces; opens no file."""
    breakdown = compute_step_breakdown(run)
    totals = compute_stage_totals(breakdown)
    cost = compute_recorder_cost(run)
    memory = compute_memory_courses(run)
    return RunAnalysis(
        breakdown=breakdown,
        ranking=compute_ranking(breakdown, totals),
        throughput=compute_throughput(run),
        memory=memory,
        resources=compute_resources(run),
        quality=compute_quality(run),
        cache=compute_cache_use(run),
        end=compute_run_end(run),
        recorder_cost=cost,
        log_claims=compute_log_claims(run),
        audit=audit_run(run, traces, cost),
        black_boxes=compute_black_boxes(run),
        traces=traces,
        trace_summary=summarise_traces(traces),
        fact_partition=partition_facts(breakdown),
        trace_ranks=compare_trace_ranks(run.traces, traces),
        stage_totals=totals,
        device_memory=compute_device_memory(run),
        loading=compute_loading(run),
        damaged=compute_damaged_samples(run),
        ranks=compute_ranks(run),
        communication=compute_communication(run),
        rhythm=compute_step_rhythm(run),
        outside=compute_outside_steps(run),
        core_use=compute_core_use(run),
        loader_starts=compute_loader_starts(run),
        worker_plan=compute_worker_plan(run),
        kill=compute_kill_account(run),
        memory_shapes=compute_course_shapes(run, memory),
        host_growth=compute_host_growth(run, memory),
        device_growth=compute_device_growth(run, memory),
        allocation_failures=compute_allocation_failures(run),
        memory_warnings=compute_memory_warnings(run),
        making_cpu=compute_making_cpu(run),
        data_set=compute_data_set(run),
        epoch_waits=compute_epoch_waits(run, breakdown.clock),
        storage_reads=compute_storage_reads(run),
        validation_reads=compute_validation_reads(run),
    )
