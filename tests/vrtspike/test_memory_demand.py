"""What a configuration asks of a machine: laws, and agreement with what the trainer builds."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml

from diagnostics.analyses.memory_demand import demand_from_mapping
from diagnostics.analyses.memory_parts import gpu_parts, host_parts, shared_parts
from vrtspike.config import config_from_mapping, config_to_mapping, load_config
from vrtspike.data import nameless
from vrtspike.data.loading_need import SampleCost, StepTime
from vrtspike.data.settings import CropStage
from vrtspike.data.workers import resolve_workers
from vrtspike.engine.optim import build_optimizer
from vrtspike.measured_costs import (
    MIB,
    MeasuredCosts,
    ProcessSizes,
    costs_from_probe,
    standard_sizes,
)
from vrtspike.memory_demand import Machine, memory_demand
from vrtspike.model.build import build_model

CONFIGS = Path(__file__).parents[2] / "configs"
CPU = Machine(device="cpu", ranks=1, cores=8)
GPU = Machine(device="cuda", ranks=2, cores=16)


def read(name, *overrides):
    return load_config(CONFIGS / f"{name}.yaml", ("DATA.ROOT=/nowhere/at/all", *overrides))


def demand(config, machine=CPU):
    return demand_from_mapping(memory_demand(config, "some.yaml", machine))


def total(parts):
    return sum(part.size_bytes for part in parts)


@pytest.mark.parametrize(
    "name", ["demo", *(f"deblur/vrt_spike_{n}" for n in ("baseline", "opt", "fast", "lowmem"))]
)
@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_every_plan_can_be_forecast(name, machine):
    found = demand(read(name), machine)
    assert found.model.parameters == sum(stage.parameters for stage in found.stages)
    assert found.model.activation_bytes == sum(stage.saved_bytes for stage in found.stages)
    assert found.data.is_assumed


def test_weights_gradients_and_optimizer_are_those_of_the_trainer():
    config = read("demo")
    data = config.data
    model = build_model(config.model, clip_len=data.clip_len, crop_size=data.crop_size, bins=data.k)
    optimizer = build_optimizer(model.parameters(), config.train.optim)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = sum(
        value.nbytes
        for state in optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    )
    found = demand(config).model
    assert found.weight_bytes == sum(p.nbytes for p in model.parameters())
    assert found.gradient_bytes == sum(p.grad.nbytes for p in model.parameters())
    assert found.optimizer_bytes == moments


@pytest.mark.parametrize(("setting", "ranks"), [("auto", 1), ("auto", 3), (5, 2), (0, 1)])
def test_workers_are_those_of_the_loader(setting, ranks):
    config = read("demo", f"DATALOADER.TOTAL_WORKERS={setting}")
    choice = resolve_workers(setting, local_ranks=ranks, cores=8)
    found = demand(config, replace(CPU, ranks=ranks)).loader
    assert found.workers_per_rank == choice.per_rank
    assert found.worker_rule.startswith(choice.explanation)
    assert found.workers_setting == setting


PRICE = SampleCost(
    samples=8,
    made_ms=100.0,
    cpu_ms=90.0,
    slowest_ms=150.0,
    part_ms={"read": 20.0, "decode": 70.0, "other": 10.0},
    spent_ms=900.0,
)
KNOWN = MeasuredCosts(cost=PRICE, step=StepTime(ms=50.0, source="a run"))


def test_what_was_measured_decides_as_it_does_for_the_loader():
    config = read("demo", "DATALOADER.TOTAL_WORKERS=auto", "TRAIN.BATCH_SIZE=2")
    found = demand_from_mapping(memory_demand(config, "some.yaml", GPU, KNOWN))
    plan = found.loading_plan
    assert plan.workers_needed_per_rank == 5  # 2 x 100 ms in 50 ms, busy for 80 % at most
    assert found.loader.workers_per_rank == 5
    assert plan.fed_ms == 40.0
    assert plan.sample.cached_ms == pytest.approx(10.0)
    assert (plan.step_ms, plan.step_source, plan.reason) == (50.0, "a run", None)


def test_processes_measured_here_stand_for_the_standard_ones():
    sizes = ProcessSizes(
        trainer_bytes=500 * MIB,
        worker_bytes=40 * MIB,
        has_scratch=True,
        old_pages_bytes=7 * MIB,
        library_bytes=90 * MIB,
        launcher_bytes=100 * MIB,
        source="here",
    )
    known = MeasuredCosts(sizes=sizes)
    found = demand_from_mapping(memory_demand(read("demo"), "some.yaml", CPU, known))
    loader = found.loader
    assert loader.worker_start_bytes + loader.train_scratch_bytes == 40 * MIB
    parts = {part.name: part.size_bytes for part in host_parts(found)}
    assert parts["training processes"] == 500 * MIB
    assert parts["libraries, counted once"] == 90 * MIB
    assert parts["old pages that forks keep"] == 2 * 7 * MIB  # of training and of validation
    assert "launcher of the ranks" not in parts
    assert found.sources["process_sizes"] == "here"
    two = demand_from_mapping(
        memory_demand(read("demo"), "some.yaml", replace(CPU, ranks=2), known)
    )
    parts = {part.name: part.size_bytes for part in host_parts(two)}
    assert parts["libraries, counted once"] == 90 * MIB
    assert parts["launcher of the ranks"] == 100 * MIB


def test_what_the_probe_wrote_is_read_whole_or_refused():
    written = {
        "torch": "2",
        "trainer_bytes": 5 * MIB,
        "worker_bytes": 3 * MIB,
        "old_pages_bytes": 0,
        "library_bytes": None,
        "launcher_bytes": None,
        "cost": asdict(PRICE),
        "cost_unknown": "",
    }
    sizes, cost, _ = costs_from_probe(written, "cpu")
    assert cost == PRICE
    assert sizes.trainer_bytes == 5 * MIB
    assert sizes.library_bytes == standard_sizes("cpu").library_bytes
    assert costs_from_probe({"problem": "no"}, "cpu") == (None, None, "no")
    assert costs_from_probe({**written, "trainer_bytes": None}, "cpu")[0] is None
    with pytest.raises((KeyError, TypeError)):
        costs_from_probe({**written, "cost": {"made_ms": 1}}, "cpu")


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("TRAIN.BATCH_SIZE=1", "TRAIN.BATCH_SIZE=2"),
        ("DATA.CROP_SIZE=128", "DATA.CROP_SIZE=256"),
        ("DATA.CACHE_SIZE_GB=4", "DATA.CACHE_SIZE_GB=6"),
        ("DATA.USE_RAM_CACHE=false", "DATA.USE_RAM_CACHE=true"),
        ("DATALOADER.TOTAL_WORKERS=2", "DATALOADER.TOTAL_WORKERS=4"),
        ("DATALOADER.TRAIN_PREFETCH_FACTOR=2", "DATALOADER.TRAIN_PREFETCH_FACTOR=3"),
        ("DATALOADER.VAL_PREFETCH_FACTOR=1", "DATALOADER.VAL_PREFETCH_FACTOR=2"),
        ("DATA.CLIP_LEN=4", "DATA.CLIP_LEN=6"),
    ],
)
def test_asking_for_more_never_needs_less(machine, less, more):
    small, large = (demand(read("deblur/vrt_spike_baseline", o), machine) for o in (less, more))
    for parts in (host_parts, shared_parts, gpu_parts):
        assert total(parts(large)) >= total(parts(small))
    assert total(host_parts(large)) > total(host_parts(small))


def test_the_forecast_knows_where_batches_wait():
    made = nameless.shared_zeros(3)
    mapped = Path("/proc/self/maps").read_text()
    assert len(made) == 3
    assert demand(read("demo")).loader.is_nameless == ("memfd:vrtspike-batch" in mapped)


def test_only_a_gpu_pins_memory_and_takes_half_precision():
    name = "deblur/vrt_spike_opt"
    on_cpu, on_gpu = demand(read(name)), demand(read(name), GPU)
    assert on_cpu.loader.pinned_train_batch_bytes is None
    assert on_gpu.loader.pinned_train_batch_bytes >= on_gpu.loader.train_batch_bytes
    assert on_cpu.model.low_precision_weight_bytes == 0
    assert on_gpu.model.low_precision_weight_bytes == on_gpu.model.weight_bytes // 2
    assert on_gpu.model.activation_bytes < on_cpu.model.activation_bytes


def test_whole_frames_in_validation_may_need_more_than_training():
    crops = demand(read("demo", "DATA.VAL_CROP_SIZE=64")).model
    frames = demand(read("demo", "DATA.VAL_CROP_SIZE=null")).model
    assert crops.validation_bytes < crops.activation_bytes
    assert frames.validation_bytes > frames.activation_bytes
    assert frames.working_bytes == frames.validation_bytes


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_each_proposal_goes_further_and_is_a_configuration(machine):
    name, start = "deblur/vrt_spike_baseline", ("TRAIN.BATCH_SIZE=4", "DATA.VAL_CROP_SIZE=null")
    found = demand(read(name, *start), machine)
    needs = [found.model.total_bytes, *(c.model.total_bytes for c in found.model_changes)]
    assert needs == sorted(needs, reverse=True)
    assert needs[-1] < needs[0] / 4
    for proposal in found.model_changes:
        overrides = [f"{c.key}={yaml.safe_dump(c.proposed).split()[0]}" for c in proposal.changes]
        assert demand(read(name, *start, *overrides), machine).model == proposal.model


def test_proposals_keep_the_clips_of_an_optimizer_step():
    config = read("demo", "TRAIN.BATCH_SIZE=4", "TRAIN.GRADIENT_ACCUMULATION_STEPS=3")
    last = {c.key: c for c in demand(config).model_changes[-1].changes}
    batch, micro = last["TRAIN.BATCH_SIZE"], last["TRAIN.GRADIENT_ACCUMULATION_STEPS"]
    assert (batch.current, micro.current) == (4, 3)
    assert batch.proposed * micro.proposed == 4 * 3


def test_a_schedule_of_crops_is_left_alone():
    config = read("demo")
    stages = (CropStage(until_epoch=1, crop_size=128),)
    planned = replace(config, data=replace(config.data, crop_schedule=stages))
    keys = {c.key for m in demand(planned).model_changes for c in m.changes}
    assert "DATA.CROP_SIZE" not in keys


def test_what_is_left_out_is_named(tmp_path):
    config = read(
        "demo",
        "TRAIN.DISTILLATION.TEACHER_CHECKPOINT=teacher.pt",
        "LOSS.VGG_PERCEPTUAL.WEIGHT=0.1",
        "LOSS.VGG_PERCEPTUAL.WEIGHTS_PATH=vgg.pt",
        "TRAIN.COMPILE_MODEL=true",
    )
    said = " ".join(demand(config).uncounted)
    for word in ("teacher", "VGG", "COMPILE_MODEL"):
        assert word in said
    assert "teacher" not in " ".join(demand(read("demo")).uncounted)


def test_a_forecast_survives_a_stored_configuration():
    config = read("deblur/vrt_spike_fast")
    again = config_from_mapping(config_to_mapping(config), "stored")
    assert demand(again, GPU) == demand(config, GPU)


def test_a_fast_store_is_page_cache_and_replaces_the_cache_and_the_decoding():
    plain = demand(read("deblur/vrt_spike_opt"))
    fast = demand(read("deblur/vrt_spike_opt", "DATA.FAST_STORE=/data/store"))
    assert plain.data.fast_store_bytes == 0
    frames = fast.data.train_frames + fast.data.val_frames
    assert fast.data.fast_store_bytes == frames * fast.data.decoded_frame_bytes
    assert (plain.loader.use_cache, fast.loader.use_cache) == (True, False)
    assert fast.loader.train_scratch_bytes < plain.loader.train_scratch_bytes
    assert total(host_parts(fast)) < total(host_parts(plain))


def test_a_validation_on_larger_crops_shrinks_with_those_of_the_training():
    found = demand(read("demo", "DATA.CROP_SIZE=256", "DATA.VAL_CROP_SIZE=256"), GPU)
    last = {change.key: change.proposed for change in found.model_changes[-1].changes}
    assert last["DATA.CROP_SIZE"] == last["DATA.VAL_CROP_SIZE"] == 64
    kept = demand(read("demo", "DATA.CROP_SIZE=256", "DATA.VAL_CROP_SIZE=64"), GPU)
    keys = {change.key for each in kept.model_changes for change in each.changes}
    assert "DATA.VAL_CROP_SIZE" not in keys
    least = found.model_changes[-1].model
    assert least.validation_bytes == kept.model.validation_bytes
