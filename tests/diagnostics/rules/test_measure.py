"""From runs to the numbers that rules look at: what counts, and what is left unknown."""

from dataclasses import replace

import pytest

from diagnostics import machine_tables
from diagnostics import tables as declared
from diagnostics.analyses.device_growth import DeviceGrowth, GrowingTensors
from diagnostics.analyses.gpu_load import GpuSummary
from diagnostics.analyses.growth_trend import GrowthTrend
from diagnostics.analyses.host_growth import GrowingMemory, HostGrowth
from diagnostics.analyses.levels import Level
from diagnostics.analyses.memory_course import MemoryCourse, MemoryPoint
from diagnostics.analyses.resources import HostSummary, ProcessSummary, Resources
from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.rules.measure import device_of, measure
from diagnostics.rules.measure_growth import holder_name
from diagnostics.run import FACTS, TEXT_LOG_ONLY, Run, RunInfo, RunTables

GIB = 1 << 30
UNKNOWN = Level(count=0, mean=None, median=None, p95=None, peak=None)


def level(value):
    return Level(count=1, mean=value, median=value, p95=value, peak=value)


def run_of(info=None, evidence=FACTS, **tables):
    return Run(inputs=(), info=info or RunInfo(), evidence=evidence, tables=RunTables(**tables))


def measured(run, **analyses):
    return measure(run, replace(analyse_run(run), **analyses))


def host(**fields):
    known = dict.fromkeys(HostSummary.__dataclass_fields__)
    return HostSummary(
        **{**known, "host": "a", "num_samples": 1, "cpu_percent": UNKNOWN, "ram_percent": UNKNOWN}
        | {"stall_share": {}, "cgroup_stall_share": {}}
        | fields
    )


def gpu(index, util, used=1, total=10):
    known = dict.fromkeys(GpuSummary.__dataclass_fields__)
    levels = dict.fromkeys(("power_w", "temperature_c", "sm_clock_mhz"), UNKNOWN)
    levels |= {"ranks": (), "throttle_share": {}}
    return GpuSummary(
        **known
        | levels
        | {
            "host": "a",
            "index": index,
            "num_samples": 1,
            "util_percent": level(util),
            "memory_used_bytes": level(used),
            "memory_total_bytes": total,
        }
    )


def course(sizes, name="device allocated"):
    known = dict.fromkeys(MemoryCourse.__dataclass_fields__)
    points = tuple(
        MemoryPoint(step=step, at_unix_s=None, size_bytes=size) for step, size in enumerate(sizes)
    )
    values = {"name": name, "owner": "a", "source": "s", "num_points": len(points)}
    peaks = {"first_bytes": sizes[0], "last_bytes": sizes[-1], "peak_bytes": max(sizes)}
    return MemoryCourse(**known | values | peaks | {"points": points})


def events(*rows):
    return declared.EVENTS.from_rows(
        [(0, name, step, None, values, "log:1") for name, step, values in rows]
    )


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (RunInfo(device={"type": "cuda"}), "cuda"),
        (RunInfo(device={"type": "cpu"}, clock="device"), "cpu"),
        (RunInfo(clock="device"), "cuda"),
        (RunInfo(clock="host", log_family="vrt-spike"), "cpu"),
        (RunInfo(clock="host", log_family="original trainer"), None),
        (RunInfo(device={"type": "mps"}), None),
        (RunInfo(), None),
    ],
)
def test_the_device_is_what_the_run_says_or_what_its_clock_tells(info, expected):
    assert device_of(run_of(info)) == expected


def test_an_empty_run_measures_nothing_and_nothing_is_zero():
    got = measured(run_of())
    assert got.num_steps == 0
    assert got.step_ms is None
    assert got.host_memory_share is None
    assert got.num_workers is None
    assert got.num_nonfinite is None
    assert got.num_host_oom is None


def test_the_container_s_limit_is_the_one_that_counts():
    hosts = (
        host(
            ram_total_bytes=100 * GIB,
            ram_available_min_bytes=90 * GIB,
            cgroup_limit_bytes=8 * GIB,
            cgroup_used_max_bytes=6 * GIB,
        ),
    )
    got = measured(run_of(), resources=Resources(hosts=hosts))
    assert got.host_memory_share == pytest.approx(0.75)


def test_the_fullest_machine_is_judged():
    hosts = tuple(
        host(ram_total_bytes=100, ram_available_min_bytes=free) for free in (80, 10, None)
    )
    got = measured(run_of(), resources=Resources(hosts=hosts))
    assert got.host_memory_share == pytest.approx(0.9)


def test_idle_gpus_that_the_run_does_not_use_are_left_out():
    gpus = (gpu(0, 2.0), gpu(1, 90.0), gpu(2, 80.0), gpu(3, 0.0, used=10))
    info = RunInfo(device={"type": "cuda"}, world_size=2)
    got = measured(run_of(info), resources=Resources(gpus=gpus))
    assert got.gpu_util_percent == pytest.approx(85.0)
    assert got.device_memory_peak_bytes == 1


def trend_of(slope):
    return GrowthTrend(
        shape="growing", slope=slope, low=slope, rise=80 * slope, jumps=0.0, first=20.0,
        last=100.0, num_points=50,
    )  # fmt: skip


def growing(holder, slope, pid=None, num_processes=1, **more):
    trend = trend_of(slope)
    return GrowingMemory(
        holder=holder, owner="box", pid=pid, num_processes=num_processes, trend=trend, **more
    )


def test_growth_is_told_by_who_holds_it():
    found = HostGrowth(
        growing=(growing("loader_processes", 3.0, None, 8), growing("training_process", 1.0, 7)),
        num_steps=100,
        num_judged=10,
    )
    hosts = (host(ram_total_bytes=1000, ram_available_min_bytes=200),)
    got = measured(run_of(), host_growth=found, resources=Resources(hosts=hosts))
    assert got.host_memory_growth_bytes_per_step == 4.0
    assert got.host_memory_growth_steps == (20.0, 100.0)
    assert got.host_memory_course_steps == 100
    assert got.host_memory_holder == "loader_processes"
    assert got.host_memory_growth_of == {
        "the 8 loader processes together": 3.0,
        "training process 7": 1.0,
    }
    assert got.host_memory_steps_to_limit == 50.0


@pytest.mark.parametrize(
    ("pids", "said"),
    [
        ((12, 11), "the 2 loader processes together (12, 11)"),
        (tuple(range(9, 1, -1)), "the 8 loader processes together (most of all 9, 8, 7, 6)"),
    ],
)
def test_processes_that_grow_together_are_named(pids, said):
    found = growing("loader_processes", 3.0, None, len(pids), pids=pids)
    assert holder_name(found) == said


def test_memory_that_was_followed_and_does_not_grow_has_a_growth_of_zero():
    got = measured(run_of(), host_growth=HostGrowth(num_steps=100, num_judged=3))
    assert got.host_memory_growth_bytes_per_step == 0.0
    assert got.host_memory_steps_to_limit is None


def test_memory_that_was_followed_too_seldom_has_no_growth():
    got = measured(run_of(), host_growth=HostGrowth(num_steps=100))
    assert got.host_memory_course_steps == 100
    assert got.host_memory_growth_bytes_per_step is None


def test_tensors_that_grow_are_told_by_rank_and_process():
    found = DeviceGrowth(
        growing=tuple(
            GrowingTensors(owner=f"rank {rank}", pid=pid, host=host, trend=trend_of(slope))
            for rank, pid, host, slope in ((1, 77, "box", 3.0), (0, None, None, 2.0))
        ),
        num_steps=100,
        num_judged=2,
    )
    got = measured(run_of(RunInfo(device={"type": "cuda"})), device_growth=found)
    assert got.device_memory_growth_bytes_per_step == 3.0
    assert got.device_memory_growth_steps == (20.0, 100.0)
    assert got.device_memory_growth_of == {"rank 1, process 77 on box": 3.0, "rank 0": 2.0}
    assert got.device_memory_course_steps == 100


def test_tensors_that_were_followed_and_do_not_grow_have_a_growth_of_zero():
    info = RunInfo(device={"type": "cuda"})
    got = measured(run_of(info), device_growth=DeviceGrowth(num_steps=100, num_judged=2))
    assert got.device_memory_growth_bytes_per_step == 0.0
    short = measured(run_of(info), device_growth=DeviceGrowth(num_steps=5))
    assert short.device_memory_growth_bytes_per_step is None


def test_workers_are_as_configured_else_as_sampled():
    processes = (
        ProcessSummary(
            host="a",
            role="worker",
            max_count=3,
            rss_bytes=UNKNOWN,
            pss_bytes=UNKNOWN,
            uss_bytes=UNKNOWN,
            pss_shm_bytes=UNKNOWN,
            swap_bytes=UNKNOWN,
            cpu_percent=UNKNOWN,
        ),
    )
    sampled = Resources(processes=processes)
    auto = RunInfo(config={"DATALOADER": {"TOTAL_WORKERS": "auto"}})
    fixed = RunInfo(config={"DATALOADER": {"TOTAL_WORKERS": 7}})
    assert measured(run_of(auto), resources=sampled).num_workers == 3
    assert measured(run_of(fixed), resources=sampled).num_workers == 7
    assert measured(run_of(auto), resources=Resources()).num_workers is None


def test_a_float16_overflow_is_not_counted_as_nan():
    noted = events(
        ("amp_overflow", 5, {"overflowed_step": 4, "count": 1}),
        ("numerics", 4, {"text": "loss is inf in float16: update left out"}),
        ("numerics", 9, {"text": "loss is nan (first bad tensor: blur)"}),
        ("not_finite", 10, {"bad_step": 9, "tensor": "blur"}),
    )
    got = measured(run_of(events=noted))
    assert (got.num_nonfinite, got.num_amp_overflows) == (1, 1)
    assert got.first_nonfinite_step == 9
    assert got.first_nonfinite_tensor == "blur"


def test_no_event_proves_nothing_when_the_run_did_not_end_by_itself():
    killed = measured(run_of(RunInfo(status="running", device={"type": "cuda"})))
    ended = measured(run_of(RunInfo(status="finished", device={"type": "cuda"})))
    assert (killed.num_host_oom, killed.num_device_oom) == (None, None)
    assert (ended.num_host_oom, ended.num_device_oom) == (0, 0)


@pytest.mark.parametrize(
    ("values", "host_count", "device_count"),
    [
        ({"where": "host", "reason": "cuda is only a word here"}, 1, None),
        ({"where": "device"}, None, 1),
        ({"text": "torch.OutOfMemoryError: CUDA out of memory."}, None, 1),
        ({"text": "Out of memory: Killed process 4711 (python)"}, 1, None),
    ],
)
def test_memory_of_host_and_device_are_told_apart(values, host_count, device_count):
    run = run_of(evidence=TEXT_LOG_ONLY, events=events(("oom", 3, values)))
    got = measured(run)
    assert (got.num_host_oom, got.num_device_oom) == (host_count, device_count)


def test_only_a_killed_loader_counts_as_one():
    noted = events(
        ("loading_process_died", 3, {"signal": "Killed", "reason": "x"}),
        ("loading_process_died", 3, {"signal": "Segmentation fault", "reason": "x"}),
        ("loading_process_died", 3, {"signal": None, "reason": "exited unexpectedly"}),
    )
    failed = RunInfo(status="failed")
    assert measured(run_of(failed, events=noted)).num_loaders_killed == 1
    assert measured(run_of(failed)).num_loaders_killed == 0
    assert measured(run_of(RunInfo(status="running"))).num_loaders_killed is None


def test_settings_of_odd_types_and_sizes_are_no_numbers():
    config = {"A": {"B": True, "C": 10**400, "D": "4", "E": float("nan"), "F": 4, "G": 2.5}}
    got = replace(measured(run_of()), config=config)
    assert [got.whole_setting(f"A.{key}") for key in "BCDEFG"] == [None, None, None, None, 4, None]
    assert [got.number_setting(f"A.{key}") for key in "BCDEFG"] == [None, None, None, None, 4, 2.5]
    assert got.setting("A.B.C") is None
    assert got.setting("X") is None


def test_the_source_of_a_field_is_the_file_it_was_read_from():
    facts, log = measured(run_of()), measured(run_of(evidence=TEXT_LOG_ONLY))
    assert facts.source("phase_ms") == "steps.rank*.jsonl"
    assert facts.source("stage_ms") == "spans.rank*.jsonl"
    assert log.source("phase_ms") == log.source("stage_ms") == "text log"
    assert facts.source("nothing") is None


def test_a_cache_held_no_more_than_the_processes_mapped_at_one_time():
    names = machine_tables.PROCESSES.column_names

    def row(at_s, role, shared):
        known = {"host": "a", "at_unix_s": at_s, "pid": 1, "role": role, "name": "python"}
        return [(known | {"rss_bytes": 9, "shared_bytes": shared}).get(name) for name in names]

    rows = [row(1.0, "main", 5), row(1.0, "worker", 3), row(2.0, "main", 6), row(1.0, "sampler", 7)]
    got = measured(run_of(processes=machine_tables.PROCESSES.from_rows(rows)))
    assert got.mapped_memory_bytes == 8
    assert measured(run_of()).mapped_memory_bytes is None
