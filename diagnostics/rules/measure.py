"""From a run and its analyses to the flat record that rules look at. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from diagnostics.analyses.gpu_load import GpuSummary
from diagnostics.analyses.launch import launch_of
from diagnostics.analyses.memory_course import MemoryCourse
from diagnostics.analyses.resources import HostSummary
from diagnostics.analyses.run_analysis import RunAnalysis
from diagnostics.rules.measure_course import COURSE_FIELDS, SPAN_FIELDS, course_fields
from diagnostics.rules.measure_damage import DAMAGE_FIELDS, damage_fields
from diagnostics.rules.measure_device import (
    ALLOCATOR_FIELDS,
    DEVICE_FIELDS,
    device_fields,
    exchange_fields,
)
from diagnostics.rules.measure_failure import failure_fields
from diagnostics.rules.measure_growth import host_growth_fields
from diagnostics.rules.measure_kill import KILL_FIELDS, kill_fields
from diagnostics.rules.measure_learning import numerics_fields, quality_fields
from diagnostics.rules.measure_loading import (
    COPY_FIELDS,
    DATA_SET_FIELDS,
    EPOCH_FIELDS,
    LOADER_FIELDS,
    STORAGE_FIELDS,
    loader_fields,
)
from diagnostics.rules.measure_log import measure_log
from diagnostics.rules.measure_machine import MACHINE_FIELDS, machine_fields
from diagnostics.rules.measure_ranks import measure_ranks
from diagnostics.rules.measure_trace import measure_traces
from diagnostics.rules.measure_trace_memory import measure_trace_memory
from diagnostics.rules.measure_trace_ranks import measure_trace_ranks
from diagnostics.rules.measurements import MAX_SETTING, Measurements
from diagnostics.run import FACTS, OUR_LOGS, TEXT_LOG_ONLY, TRACE_ONLY, Run, is_of_unknown_program

Fields = dict[str, Any]

OOM_EVENTS = ("oom", "out_of_memory")
STEPS_FILE, SPANS_FILE, RESOURCES_FILE = (
    "steps.rank*.jsonl",
    "spans.rank*.jsonl",
    "resources.*.jsonl",
)


def measure(run: Run, analysis: RunAnalysis) -> Measurements:
    """Everything that rules need, where the run holds it."""
    device = device_of(run)
    return Measurements(
        device=device,
        clock=analysis.breakdown.clock,
        world_size=run.info.world_size,
        compute_capability=_number(run.info.device.get("compute_capability")),
        config=_our_config(run),
        launch=None if _is_own_loop(run) else launch_of(run.info.argv),
        is_own_loop=_is_own_loop(run),
        is_trainer_unknown=_is_trainer_unknown(run),
        framework=_framework(run),
        is_log_unknown=is_of_unknown_program(run),
        has_facts=run.evidence == FACTS,
        has_trace=bool(run.traces),
        loader=_loader_settings(run),
        ranks_per_machine=_ranks_per_machine(run, analysis),
        status=run.info.status,
        is_unsynchronised=run.info.is_unsynchronised,
        in_trace=measure_traces(analysis.traces),
        **measure_trace_memory(analysis.traces),
        trace=str(run.info.traces[0]) if run.info.traces else None,
        **_steps(run, analysis),
        **_loading(run, analysis),
        **loader_fields(analysis),
        **_host_memory(run, analysis),
        **_device_memory(run, analysis, device),
        **numerics_fields(run),
        **quality_fields(analysis.quality),
        **_ranks(analysis),
        **measure_log(analysis.log_claims),
        **machine_fields(run, analysis),
        **kill_fields(analysis.kill),
        **damage_fields(analysis.damaged),
        **failure_fields(analysis.allocation_failures),
        **exchange_fields(analysis.communication),
        **course_fields(run, analysis, _max_grad_norm(run)),
        sources=_sources(run),
    )


def _ranks(analysis: RunAnalysis) -> Fields:
    """By the facts of many steps; by traces where those were not compared."""
    by_facts = measure_ranks(analysis.ranks)
    compared = "rank_slowest" in by_facts
    return by_facts if compared else by_facts | measure_trace_ranks(analysis.trace_ranks)


def device_of(run: Run) -> Literal["cuda", "cpu"] | None:
    """Where the run trained: as it says, else as its clock and its GPU memory tell."""
    kind = run.info.device.get("type")
    if kind == "cuda" or kind == "cpu":
        return "cuda" if kind == "cuda" else "cpu"
    if kind is not None:
        return None  # a device whose times and memory this version does not know
    shows_gpu_memory = bool(run.tables.log_steps["gpu_memory_bytes"].notna().any())
    if run.info.clock == "device" or len(run.tables.gpus) or shows_gpu_memory:
        return "cuda"
    if run.info.log_family == "vrt-spike" and run.info.clock == "host":
        return "cpu"  # our recorder takes the host's clock only where there is no GPU
    return None


def _is_own_loop(run: Run) -> bool:
    return run.info.trainer == "own"


def _framework(run: Run) -> str | None:
    """The other trainer whose log is all there is."""
    family = run.info.log_family
    is_alone = run.evidence == TEXT_LOG_ONLY and run.info.trainer is None
    return family if is_alone and family not in OUR_LOGS else None


def _is_trainer_unknown(run: Run) -> bool:
    if run.info.trainer is not None or run.info.config:
        return False
    return run.evidence == TRACE_ONLY or bool(_framework(run)) or is_of_unknown_program(run)


def _our_config(run: Run) -> Mapping[str, Any]:
    """Another's keys may be spelled like ours and mean something else: they are not looked at."""
    return {} if _is_own_loop(run) else run.info.config


def _max_grad_norm(run: Run) -> float | None:
    return Measurements(config=_our_config(run)).number_setting("TRAIN.MAX_GRAD_NORM")


def _loader_settings(run: Run) -> dict[str, int | None]:
    """Of the loader that another's loop wrapped first, as it said: the one it trains with."""
    events = run.tables.events
    said = events.loc[(events["name"] == "loader_settings") & (events["rank"] == 0), "values"]
    if not _is_own_loop(run) or not len(said):
        return {}
    return {
        name: value if isinstance(value, int) and 0 <= value <= MAX_SETTING else None
        for name, value in said.iloc[0].items()
    }


def _ranks_per_machine(run: Run, analysis: RunAnalysis) -> int:
    return max(1, (run.info.world_size or 1) // max(1, len(analysis.resources.hosts)))


def _steps(run: Run, analysis: RunAnalysis) -> Fields:
    breakdown = analysis.breakdown
    data = breakdown.data_against_compute
    step_ms = data.step_ms if data else breakdown.step.mean_ms if breakdown.step else None
    forward = [stage for stage in breakdown.stages if stage.phase == "forward"]
    judged = [stage for stage in forward if stage.clock == breakdown.clock] or forward
    # A text log prints step and phases on different lines, over different steps: no closure.
    gaps = {
        closure.name: closure.difference_share
        for closure in breakdown.closures
        if closure.clock == breakdown.clock and not breakdown.is_window_means
    }
    return {
        "num_steps": 0 if breakdown.is_tagged_included else breakdown.count,
        "num_excluded_steps": _excluded(analysis),
        "steps_left": _steps_left(run),
        "step_ms": step_ms,
        "phase_ms": {p.name: p.mean_ms for p in breakdown.phases if p.clock == breakdown.clock},
        "phase_gap_share": gaps.get("phases of the step"),
        "stage_ms": {stage.name: stage.mean_ms for stage in judged},
        "stage_clock": judged[0].clock if judged else None,
        "stage_gap_share": gaps.get("stages of the forward"),
        "micro_batches": _micro_batches(run),
        "data_wait_exposed_ms": data.data_wait_exposed_ms if data else None,
        "data_wait_ms": data.data_wait_ms if data else None,
        "samples_per_s": analysis.throughput.samples_per_s,
    }


def _excluded(analysis: RunAnalysis) -> int:
    """Tagged steps; all of them where there are no others, which the analyses then use."""
    breakdown = analysis.breakdown
    return breakdown.count if breakdown.is_tagged_included else breakdown.excluded


def _steps_left(run: Run) -> int | None:
    steps = run.tables.steps["step"]
    if run.info.total_steps is None or not len(steps):
        return None
    return max(0, int(run.info.total_steps) - int(steps.max()))


def _micro_batches(run: Run) -> float | None:
    counted = run.tables.steps["micro_batches"].dropna()
    if len(counted):
        return float(counted.median())
    configured = Measurements(config=_our_config(run))
    return configured.whole_setting("TRAIN.GRADIENT_ACCUMULATION_STEPS")


def _loading(run: Run, analysis: RunAnalysis) -> Fields:
    hosts, cache = analysis.resources.hosts, analysis.cache
    cores = [host.cpus_allowed for host in hosts if host.cpus_allowed]
    cpu = [host.cpu_percent.mean for host in hosts if host.cpu_percent.mean is not None]
    fields: Fields = {
        "num_workers": _num_workers(run, analysis),
        "cpus_allowed": int(min(cores)) if cores else None,
        "host_cpu_percent": max(cpu, default=None),
    }
    if cache is not None and cache.hits is not None and cache.misses is not None:
        fields |= {
            "cache_hit_rate": cache.hit_share,
            "cache_num_reads": int(cache.hits + cache.misses),
            "cache_used_bytes": _whole(cache.machine_used_bytes),
            "cache_limit_bytes": _whole(cache.machine_limit_bytes),
            "cache_no_room": _whole(cache.no_room),
        }
    return fields


def _num_workers(run: Run, analysis: RunAnalysis) -> int | None:
    """As configured; "auto" as sampled, though validation's workers may be among them."""
    of_each = _loader_settings(run).get("num_workers")
    if of_each is not None:
        return of_each * _ranks_per_machine(run, analysis)
    configured = Measurements(config=_our_config(run)).whole_setting("DATALOADER.TOTAL_WORKERS")
    if configured is not None:
        return configured
    processes = analysis.resources.processes
    if not processes:
        in_process = [each.loads_in_process for each in analysis.traces]
        return 0 if in_process and all(in_process) else None
    return max((each.max_count for each in processes if each.role == "worker"), default=0)


def _host_memory(run: Run, analysis: RunAnalysis) -> Fields:
    fields: Fields = {}
    fullest = max(map(_host_use, analysis.resources.hosts), key=_share, default=None)
    system = _course(analysis.memory, "system used")
    if fullest is None and system is not None and system.limit_bytes:
        fullest = (system.peak_bytes, system.limit_bytes)
    if fullest is not None:
        fields["host_memory_peak_bytes"] = _whole(fullest[0])
        fields["host_memory_limit_bytes"] = _whole(fullest[1])
    fields["mapped_memory_bytes"] = _mapped_memory(run)
    fields |= host_growth_fields(analysis.host_growth, fullest)
    return fields


def _mapped_memory(run: Run) -> int | None:
    """The most of a machine's samples; a page counts once for each process that maps it."""
    rows = run.tables.processes
    rows = rows[rows["role"] != "sampler"].dropna(subset=["shared_bytes"])
    sums = rows.groupby(["host", "at_unix_s"])["shared_bytes"].sum()
    return _whole(float(sums.max())) if len(sums) else None


def _host_use(host: HostSummary) -> tuple[float | None, float | None]:
    """Peak and limit of a machine, or of its container: of the fuller one."""
    machine: tuple[float | None, float | None] = None, None
    if host.ram_total_bytes is not None and host.ram_available_min_bytes is not None:
        machine = host.ram_total_bytes - host.ram_available_min_bytes, host.ram_total_bytes
    container = host.cgroup_used_max_bytes, host.cgroup_limit_bytes
    return max(container, machine, key=_share)


def _share(use: tuple[float | None, float | None]) -> float:
    peak, limit = use
    return peak / limit if peak is not None and limit else -1.0


def _course(courses: Sequence[MemoryCourse], name: str) -> MemoryCourse | None:
    """The course of that name with the largest peak: the worst rank or machine."""
    named = [course for course in courses if course.name == name]
    return max(named, key=lambda course: course.peak_bytes, default=None)


def _device_memory(run: Run, analysis: RunAnalysis, device: str | None) -> Fields:
    host, on_device = _out_of_memory(run)
    fields: Fields = {"num_host_oom": host, "num_device_oom": on_device}
    fields["num_loaders_killed"] = _loaders_killed(run)
    if device != "cuda":
        return fields
    gpus = _used_gpus(analysis.resources.gpus, run.info.world_size or 1)
    fields |= device_fields(run, analysis, gpus)
    uses = [(gpu.memory_used_bytes.peak, gpu.memory_total_bytes) for gpu in gpus]
    reserved = _course(analysis.memory, "device reserved")
    total = _number(run.info.device.get("memory_total_bytes"))
    if reserved is not None:
        uses.append((reserved.peak_bytes, reserved.limit_bytes or total))
    fullest = max(uses, key=_share, default=(None, None))
    util = [gpu.util_percent.mean for gpu in gpus if gpu.util_percent.mean is not None]
    retries = run.tables.steps["device_alloc_retries"].dropna()
    return fields | {
        "device_memory_peak_bytes": _whole(fullest[0]),
        "device_memory_total_bytes": _whole(fullest[1]),
        "device_alloc_retries": int(retries.max()) if len(retries) else None,
        "gpu_util_percent": sum(util) / len(util) if util else None,
    }


def _used_gpus(gpus: Sequence[GpuSummary], world_size: int) -> list[GpuSummary]:
    """Those that ranks said they use; else as many as there are ranks, the busiest."""
    named = [gpu for gpu in gpus if gpu.ranks]
    if named:
        return named
    return sorted(gpus, key=lambda gpu: -(gpu.util_percent.mean or 0.0))[:world_size]


def _out_of_memory(run: Run) -> tuple[int | None, int | None]:
    """Events on the host and on a device. No event is proof only of a run that ended by itself."""
    events = run.tables.events
    held = events[events["name"].isin(OOM_EVENTS)]
    on_device = sum(_is_device(values) for values in held["values"])
    counts = len(held) - on_device, on_device
    if run.evidence == FACTS and run.info.status in ("finished", "interrupted"):
        return counts
    return counts[0] or None, counts[1] or None


def _loaders_killed(run: Run) -> int | None:
    """None where there is no such event and none can be expected either."""
    events = run.tables.events
    died = events.loc[events["name"] == "loading_process_died", "values"]
    killed = sum(values.get("signal") == "Killed" for values in died)
    knows_its_end = run.evidence == FACTS and run.info.status != "running"
    return killed if knows_its_end else killed or None


def _is_device(values: dict[str, Any]) -> bool:
    """The trainer says where; of a line of a log, its words tell."""
    if "where" in values:
        return bool(values["where"] == "device")
    text = " ".join(str(value) for value in values.values()).lower()
    return "cuda" in text or "gpu" in text or "device" in text


def _sources(run: Run) -> dict[str, str]:
    """Where each field was read: the files of the facts, or the text log."""
    kind = "trace" if run.evidence == TRACE_ONLY else "text log"
    log = next((each.path.name for each in run.inputs if each.kind == kind), kind)
    has_facts = run.evidence == FACTS
    steps, spans = (STEPS_FILE, SPANS_FILE) if has_facts else (log, log)
    resources = RESOURCES_FILE if len(run.tables.host) else log
    by_file = (
        (
            steps,
            "num_steps step_ms phase_ms data_wait_exposed_ms samples_per_s grad_norm_median "
            f"device_alloc_retries rank_slowest {LOADER_FIELDS} {COPY_FIELDS} "
            f"{EPOCH_FIELDS}",
        ),
        (
            spans,
            "stage_ms cache_hit_rate num_nonfinite num_amp_overflows psnr_last_db num_host_oom "
            f"num_device_oom num_loaders_killed {DATA_SET_FIELDS}",
        ),
        (
            resources,
            "host_memory_peak_bytes host_memory_growth_bytes_per_step device_memory_peak_bytes "
            f"gpu_util_percent cpus_allowed {STORAGE_FIELDS}",
        ),
    )
    found = {name: file for file, names in by_file for name in names.split()}
    found |= dict.fromkeys((*COURSE_FIELDS, *ALLOCATOR_FIELDS), steps)
    found |= dict.fromkeys((*SPAN_FIELDS, *DAMAGE_FIELDS), spans)
    found |= dict.fromkeys((*MACHINE_FIELDS, *DEVICE_FIELDS, *KILL_FIELDS), resources)
    has_setting = Measurements(config=_our_config(run)).whole_setting("DATALOADER.TOTAL_WORKERS")
    found["num_workers"] = "meta.json" if has_setting is not None else resources
    if _loader_settings(run):
        found["num_workers"] = spans
    return found


def _number(value: Any) -> float | None:
    """A number, also one that is written as text, such as a compute capability."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 1e18 else None


def _whole(value: float | None) -> int | None:
    return None if value is None or pd.isna(value) else int(value)
