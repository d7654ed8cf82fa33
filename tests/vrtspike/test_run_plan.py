"""A forecast's own measurements: the probe in its process, the step time, and what may fail."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from diagnostics.analyses.memory_demand import demand_from_mapping
from vrtspike import plan_probe, run_plan
from vrtspike.config import load_config
from vrtspike.memory_demand import Machine
from vrtspike.run_plan import PlanRequest, measure, plan_run


@pytest.fixture
def request_(project):
    return PlanRequest(
        config_path=project.config,
        overrides=("DATALOADER.TOTAL_WORKERS=auto",),
        machine=Machine(device="cpu", ranks=1, cores=4),
        profiles_dir=project.root / "profiles",
        samples=2,
    )


def test_samples_and_processes_of_a_real_data_set_are_measured(request_):
    found = demand_from_mapping(plan_run(replace(request_, step_ms=1.0)))
    plan = found.loading_plan
    assert plan.sample.samples == 2
    assert sum(plan.sample.part_ms.values()) == pytest.approx(plan.sample.made_ms)
    assert plan.step_source == "--step-ms"
    assert found.loader.workers_per_rank == min(plan.workers_needed_per_rank, 3)
    assert found.sources["process_sizes"].startswith("measured on this machine")
    assert 50 << 20 < found.trainer_start_bytes < 2 << 30
    assert 1 << 20 < found.loader.worker_start_bytes < found.trainer_start_bytes


def test_nothing_is_started_without_data_or_without_samples(request_, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    gone = replace(request_, overrides=(*request_.overrides, "DATA.ROOT=gone"))
    config = load_config(gone.config_path, gone.overrides)
    assert measure(gone, config).cost_unknown == "no sample could be timed: gone is not there"
    config = load_config(request_.config_path)
    assert measure(replace(request_, samples=0), config).cost is None


@pytest.mark.parametrize("written", [None, "", "[1]", '{"cost": 1}', "{}"])
def test_a_probe_that_fails_leaves_standard_sizes_and_a_reason(request_, monkeypatch, written):
    def run(command, **_):
        if written is not None:
            path = command[command.index("--out") + 1]
            Path(path).write_text(written)
        return subprocess.CompletedProcess(command, 1, b"", b"Traceback\nImportError: no torch\n")

    monkeypatch.setattr(run_plan.subprocess, "run", run)
    costs = measure(request_, load_config(request_.config_path))
    assert (costs.sizes, costs.cost) == (None, None)
    assert costs.cost_unknown
    if written is None:
        assert costs.cost_unknown == "samples could not be timed: ImportError: no torch"
    assert "not measured" in plan_run(request_, costs)["sources"]["process_sizes"]


def test_a_probe_that_hangs_is_left(request_, monkeypatch):
    def run(command, *, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(run_plan.subprocess, "run", run)
    costs = measure(request_, load_config(request_.config_path))
    assert costs.cost_unknown == "samples were not timed within 120 s"


def test_data_that_cannot_be_read_is_the_probes_answer(request_, tmp_path):
    overrides = (*request_.overrides, "DATA.TRAIN_SPLIT=none")
    out = tmp_path / "plan.json"
    arguments = ["--config", str(request_.config_path), "--out", str(out), *overrides]
    assert plan_probe.main(arguments) == 0
    assert "problem" in out.read_text()


def test_machines_share_the_samples(request_):
    one = plan_run(replace(request_, samples=0))
    two = plan_run(replace(request_, samples=0, machine=replace(request_.machine, machines=2)))
    assert (one["machines"], two["machines"]) == (1, 2)
    assert one["launcher_bytes"] == 0 < two["launcher_bytes"]
    rates = [each["loader"]["hit_rates"] for each in (one, two)]
    assert rates[0] != rates[1]
