"""The work of the plans, as the tools get it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from diagnostics.analyses.plan_work import work_from_mapping
from vrtspike.config import load_config
from vrtspike.errors import ConfigError
from vrtspike.memory_demand import Machine, memory_demand
from vrtspike.model.settings import CheckpointingConfig
from vrtspike.plan_demand import load_plans, plan_demand

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
CPU = Machine(device="cpu", ranks=1, cores=2)
GPU = Machine(device="cuda", ranks=4, cores=16)


@pytest.fixture(scope="module")
def plans():
    return load_plans(CONFIGS / "deblur")


def works(plans, machine=CPU):
    baseline = plans["vrt_spike_baseline"]
    work = work_from_mapping(json.loads(json.dumps(plan_demand(baseline, plans, machine))))
    return work.run, {plan.name.removeprefix("vrt_spike_"): plan for plan in work.plans}


def test_the_four_plans_in_the_form_that_the_tools_read(plans):
    run, found = works(plans)
    assert set(found) == {"baseline", "opt", "fast", "lowmem"}
    assert run.settings == found["baseline"].settings
    assert {name: plan.micro_batches for name, plan in found.items()} == {
        "baseline": 6, "opt": 6, "fast": 6, "lowmem": 4,
    }  # fmt: skip
    assert found["fast"].samples_per_step == 12
    assert found["baseline"].flops > found["opt"].flops > found["fast"].flops
    assert found["fast"].pixels == 2 * 5 * 128 * 128


def test_ranks_multiply_the_samples_and_amp_needs_a_gpu(plans):
    _, on_cpu = works(plans)
    _, on_gpu = works(plans, GPU)
    assert on_gpu["fast"].samples_per_step == 4 * 12
    assert [plan.is_half for plan in on_gpu.values()].count(True) == 3
    assert not any(plan.is_half for plan in on_cpu.values())


def test_memory_is_the_forecast_s(plans):
    _, found = works(plans)
    demand = memory_demand(plans["vrt_spike_opt"], "opt", CPU)
    assert found["opt"].model.activation_bytes == demand["model"]["activation_bytes"]
    assert found["opt"].start_bytes == demand["trainer_start_bytes"]
    assert works(plans, GPU)[1]["opt"].start_bytes == 0


def test_checkpointing_changes_memory_and_not_the_work(plans):
    plan = plans["vrt_spike_opt"]
    lean = replace(
        plan,
        model=replace(
            plan.model, vrt=CheckpointingConfig(use_checkpoint_attn=True, use_checkpoint_ffn=True)
        ),
    )
    _, found = works({**plans, "lean": lean})
    assert found["lean"].stages == found["opt"].stages
    assert found["lean"].memory_bytes < found["opt"].memory_bytes
    assert found["lean"].settings != found["opt"].settings


def test_stages_are_those_of_the_cost_table(plans):
    _, found = works(plans)
    names = [stage.name for stage in found["opt"].stages]
    assert "vrt.stage8" in names
    assert all(stage.blocks >= 1 and stage.flops > 0 for stage in found["opt"].stages)
    by_name = {stage.name: stage for stage in found["opt"].stages}
    assert by_name["vrt.stage8"].blocks == 6  # one group, six deep
    assert by_name["vrt.stage2"].blocks == 7 + 2 * 4  # blocks, and neighbours on both sides


def test_where_a_run_writes_decides_nothing(plans):
    config = load_config(CONFIGS / "demo.yaml")
    other = load_config(
        CONFIGS / "demo.yaml", ["LOG.SAVE_DIR=elsewhere", "SEED=7", "TRAIN.TOTAL_STEPS=3"]
    )
    found = work_from_mapping(plan_demand(config, {"other": other}, CPU))
    assert found.run.settings == found.plans[0].settings


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_without_plans_is_said(tmp_path, make):
    make(tmp_path / "none")
    with pytest.raises(ConfigError, match="holds no configuration"):
        load_plans(tmp_path / "none")


def test_a_wrong_plan_is_said(tmp_path):
    (tmp_path / "bad.yaml").write_text("TRAIN: {BATCHSIZE: 2}\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_plans(tmp_path)
