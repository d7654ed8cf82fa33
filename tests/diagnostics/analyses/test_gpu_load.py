"""GPUs over a run: ranks, clock limits, energy by counter and by power, gaps, cores, stalls."""

import json
import sys

import pandas as pd
import pytest

from diagnostics import tables as declared
from diagnostics.analyses.energy_use import compute_energy_use
from diagnostics.analyses.gpu_load import THROTTLE_BITS, compute_gpu_load, energy_curve
from diagnostics.analyses.resources import compute_resources
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_mapping
from diagnostics.report.terminal import render_terminal
from diagnostics.run import RunInfo
from tests.diagnostics.factories import (
    START_UNIX_S,
    make_run,
    resource_line,
    run_of,
    write_facts,
    write_lines,
)

UUIDS = ("GPU-AAAA", "GPU-BBBB")


def gpu_rows(*values, **same):
    """One GPU, a sample a second."""
    return declared.GPUS.from_records(
        {"host": "box", "at_unix_s": 1000.0 + n, "index": 0, **same, **each}
        for n, each in enumerate(values)
    )


def event_rows(*events):
    return declared.EVENTS.from_records(
        {"rank": rank, "name": name, "values": values, "source": "s"}
        for rank, name, values in events
    )


def test_gpus_belong_to_the_ranks_that_said_so():
    gpus = pd.concat([gpu_rows({}, index=n, uuid=uuid) for n, uuid in enumerate(UUIDS)])
    said = event_rows(
        (0, "rank_device", {"uuid": "bbbb"}),
        (1, "rank_device", {"uuid": "aaaa"}),
        (2, "rank_device", {"uuid": "aaaa"}),
        (3, "rank_device", {"uuid": None}),
    )
    found = compute_gpu_load(run_of(gpus=gpus, events=said))
    assert [each.ranks for each in found] == [(1, 2), (0,)]


def test_instances_are_kept_apart_from_their_gpu():
    gpus = pd.concat(
        [gpu_rows({"memory_used_bytes": 5.0 + (n or 0)}, mig_index=n) for n in (None, 0, 2)]
    )
    found = compute_gpu_load(run_of(gpus=gpus))
    assert [(g.mig_index, g.memory_used_bytes.peak) for g in found] == [(None, 5), (0, 5), (2, 7)]


def test_clock_limits_are_shares_by_reason():
    masks = [0, 4, 4 | 0x40, 1]
    (gpu,) = compute_gpu_load(run_of(gpus=gpu_rows(*({"throttle_reasons": m} for m in masks))))
    assert gpu.throttle_share == {"idle": 0.25, "power cap": 0.5, "thermal, by hardware": 0.25}
    assert gpu.throttle_reasons == 0x45
    assert sorted(THROTTLE_BITS.values()) == [1 << n for n in range(11)]
    (silent,) = compute_gpu_load(run_of(gpus=gpu_rows({})))
    assert (silent.throttle_reasons, silent.throttle_share) == (None, {})


def test_a_lost_gpu_and_what_its_driver_does_not_tell():
    rows = gpu_rows({}, {"error": "GPU is lost"}, {"error": "GPU is lost"}, {}, uuid="GPU-AAAA")
    said = event_rows(
        (0, "gpu_fields_unsupported", {"uuid": "GPU-AAAA", "fields": "energy_j"}),
        (0, "gpu_fields_unsupported", {"uuid": "GPU-AAAA", "fields": "power_w energy_j"}),
    )
    (gpu,) = compute_gpu_load(run_of(gpus=rows, events=said))
    assert (gpu.failed_share, gpu.error) == (0.5, "GPU is lost")
    assert gpu.unsupported == ("energy_j", "power_w")
    assert gpu.energy_j is None


def test_constant_power_gives_the_same_energy_by_counter_and_by_power():
    counter = energy_curve(gpu_rows(*({"energy_j": 500.0 + 100 * n} for n in range(5))))
    power = energy_curve(gpu_rows(*({"power_w": 100.0} for _ in range(5))))
    assert (counter.total_j, power.total_j) == (400, 400)
    for curve in (counter, power):
        assert curve.between(1000.5, 1002.0) == pytest.approx(150)
        assert curve.between(999.5, 1001.0) is None
        assert curve.between(1003.0, 1004.5) is None
    assert energy_curve(gpu_rows({"power_w": 1.0})) is None


def test_energy_over_a_gap_or_a_restart_is_not_known():
    rows = gpu_rows(*({"power_w": 100.0} for _ in range(8)))
    gapped = rows.drop(index=[]).assign(
        at_unix_s=rows["at_unix_s"].where(rows["at_unix_s"] < 1004, rows["at_unix_s"] + 100)
    )
    curve = energy_curve(gapped)
    assert curve.total_j == 600  # seven spans, one of them unknown
    assert curve.between(1002.0, 1104.5) is None
    assert curve.between(1001.0, 1003.0) == 200
    restarted = energy_curve(gpu_rows(*({"energy_j": e} for e in (100.0, 200.0, 10.0, 60.0))))
    assert restarted.total_j == 150
    assert restarted.between(1001.5, 1002.5) is None


@pytest.fixture
def sampled(tmp_path):
    """A run of one rank; its GPU draws 200 W."""

    def make(num_gpus=1, world_size=1, **changes):
        write_facts(tmp_path, make_run(20, world_size))
        lines = []
        for n in range(40):
            body = json.loads(resource_line(START_UNIX_S - 0.1 + 0.1 * n, [1]))
            fields = {"power_w": 200.0, "util_percent": 50.0, "energy_j": 20.0 * n, **changes}
            body["gpus"] = [{"index": g, "uuid": UUIDS[g], **fields} for g in range(num_gpus)]
            body["host"]["core_percent"] = [100.0, 3.0, 2.0] if n % 2 else [90.0, 90.0, 90.0]
            body["host"]["pressure_io_full_us"] = 25_000 * n
            body["host"]["oom_kills"] = 7 + (n > 10)
            body["sampler"] = {"interval_s": 0.1, "cpu_s": 0.5 + 0.001 * n, "missed": 2}
            if not 20 <= n < 25:
                lines.append(json.dumps(body))
        lines.append('{"schema":1,"kind":"event","name":"gpu_error","at_unix_s":1e9,"values":{}}')
        write_lines(tmp_path / "resources.box.jsonl", lines)
        return load_run([tmp_path])

    return make


def test_energy_per_sample_is_power_times_time_by_samples(sampled):
    run = sampled()
    energy = compute_resources(run).energy
    steps = run.tables.phases
    whole = steps[(steps["name"] == "step") & ~steps["is_tagged"]]["ms"]
    assert energy.num_steps == len(whole) == 19
    assert energy.total_j == pytest.approx(200 * whole.sum() / 1000, rel=1e-6)
    assert energy.per_sample_j == pytest.approx(energy.total_j / (19 * 2))
    assert energy.source == "energy counter"


def test_energy_without_a_counter_is_power_over_time(sampled):
    energy = compute_resources(sampled(energy_j=None)).energy
    assert energy.source == "power over time"
    assert energy.per_sample_j > 0


def test_energy_is_null_with_a_reason(sampled):
    silent = compute_resources(sampled(energy_j=None, power_w=None)).energy
    assert (silent.per_sample_j, "neither energy nor power" in silent.reason) == (None, True)
    several = compute_resources(sampled(num_gpus=2)).energy
    assert (several.per_sample_j, several.reason) == (None, "no rank said which GPU it used")
    assert compute_energy_use(run_of(), ()).reason == "no GPU was sampled"


def test_cores_stalls_and_kills(sampled):
    (host,) = compute_resources(sampled()).hosts
    assert host.core_count == 3
    assert host.one_core_full_share == pytest.approx(18 / 35)
    assert host.core_peak_percent.peak == 100
    assert host.stall_share == {"io_full": pytest.approx(0.25)}
    assert host.cgroup_stall_share == {}
    assert (host.oom_kills, host.cgroup_oom_kills) == (1, None)


def test_the_sampling_knows_its_gaps_and_its_price(sampled):
    (sampling,) = compute_resources(sampled()).sampling
    assert (sampling.num_samples, sampling.missed, sampling.num_gaps) == (35, 2, 1)
    assert sampling.longest_gap_s == pytest.approx(0.6)
    assert sampling.core_share == pytest.approx(0.01)
    assert sampling.pss_core_share == 0


def test_old_samples_are_silent_about_what_they_lack(tmp_path):
    write_facts(tmp_path, make_run(4))
    write_lines(tmp_path / "resources.box.jsonl", [resource_line(1e9 + n, [1]) for n in range(3)])
    found = compute_resources(load_run([tmp_path]))
    (host,) = found.hosts
    assert (host.core_count, host.one_core_full_share, host.oom_kills) == (None, None, None)
    assert host.stall_share == {}
    assert found.sampling == ()


def test_an_event_of_the_sampler_is_read_without_a_step(sampled):
    events = sampled().tables.events
    (step,) = events.loc[events["name"] == "gpu_error", "step"]
    assert pd.isna(step)


def test_the_reports_show_it(sampled, capsys):
    report = build_report(sampled(throttle_reasons=4, sm_active_percent=33.0))
    render_terminal(report, sys.stdout, width=120, color=False)
    said = capsys.readouterr().out
    for part in (
        "one core was full and the others mostly idle in 51.4% of the time",
        "waited: all for a disk 25.0% of the time",
        "killed for memory during the run: 1 on the machine",
        "clocks held down by: power cap 100.0% of the time",
        "multiprocessors active 33 %",
        "J per sample, GPUs alone (energy counter)",
        "it took 1.0% of a core",
    ):
        assert part in said, part
    page = to_mapping(report)["resources"]
    assert page["energy"]["per_sample_j"] > 0
    assert page["gpus"][0]["throttle_share"] == {"power cap": 1.0}
    assert page["sampling"][0]["num_gaps"] == 1
    assert page["host"]["oom_kills"] == 1


def test_two_ranks_each_with_a_gpu_add_up(sampled):
    run = sampled(num_gpus=2, world_size=2)
    said = event_rows(*((n, "rank_device", {"uuid": u[4:]}) for n, u in enumerate(UUIDS)))
    tables = {name: getattr(run.tables, name) for name in ("steps", "phases", "gpus")}
    both = run_of(info=RunInfo(world_size=2), events=said, **tables)
    energy = compute_energy_use(both, compute_gpu_load(both))
    whole = tables["phases"]
    steps = whole[(whole["name"] == "step") & ~whole["is_tagged"]]["ms"]
    assert energy.num_samples == 2 * 19 * 2
    assert energy.total_j == pytest.approx(200 * steps.sum() / 1000, rel=1e-6)
