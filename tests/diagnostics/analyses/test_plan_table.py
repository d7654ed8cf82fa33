"""Predictions of plans: known work gives known times, and what is not known widens the interval."""

from dataclasses import replace

import pytest

from diagnostics.analyses.memory_demand import ModelDemand
from diagnostics.analyses.plan_scaling import fit_mixture, shares_of
from diagnostics.analyses.plan_table import (
    MODEL_ERROR,
    WINDOW_ERROR,
    MeasuredPlan,
    predict_plans,
)
from diagnostics.analyses.plan_work import PlanWork, StageWork, StepWork, work_from_mapping
from diagnostics.analyses.step_breakdown import compute_step_breakdown
from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from diagnostics.plan_runs import measured_plans
from tests.diagnostics.factories import MadeRun, make_step, write_facts

SIZES = (
    "parameters weight_bytes gradient_bytes optimizer_bytes low_precision_weight_bytes "
    "batch_bytes activation_bytes transient_bytes validation_bytes overhead_bytes"
)
MODEL = ModelDemand(**dict.fromkeys(SIZES.split(), 10))
# The three stages of the factory's steps: 3.5, 6 and 0.5 ms of a forward of 10 ms.
STAGES = (
    StageWork(name="flow", flops=7.0, kept_bytes=70.0, blocks=7),
    StageWork(name="vrt.stage1", flops=12.0, kept_bytes=120.0, blocks=12),
)
RUN = StepWork(
    name="run",
    settings={"TRAIN.BATCH_SIZE": 2},
    micro_batches=1,
    samples_per_step=2,
    pixels=100,
    batch_bytes=1000,
    parameters=50,
    is_half=False,
    stages=STAGES,
    model=MODEL,
    start_bytes=5,
)


@pytest.fixture
def breakdown(tmp_path):
    steps = [make_step(step) for step in range(1, 31)]
    return compute_step_breakdown(load_run([write_facts(tmp_path / "run", MadeRun(ranks=[steps]))]))


def predicted(breakdown, plan, measured=None):
    table = predict_plans(breakdown, PlanWork(run=RUN, plans=(plan,)), measured or {})
    return table.rows[0]


def scaled(stage, factor):
    return replace(
        stage,
        flops=stage.flops * factor,
        kept_bytes=stage.kept_bytes * factor,
        blocks=stage.blocks * factor,
    )


def test_the_same_work_takes_the_same_time(breakdown):
    row = predicted(breakdown, replace(RUN, name="same"))
    assert row.step_ms.mid == pytest.approx(36.0)
    assert row.step_ms.low == pytest.approx(36.0 * (1 - MODEL_ERROR))
    assert row.samples_per_s.mid == pytest.approx(2000 / 36)
    assert row.is_reference
    assert row.reasons == ()


def test_twice_the_work_of_every_stage_takes_twice_the_time_of_the_network(breakdown):
    """Forward 10, backward 20 of 36 ms; what is outside the stages goes with the pixels."""
    plan = replace(
        RUN, name="big", settings={}, pixels=200, stages=tuple(scaled(s, 2) for s in STAGES)
    )
    row = predicted(breakdown, plan)
    assert row.step_ms.mid == pytest.approx(36.0 + 30.0 + 1.0)  # and the loss of 1 ms
    assert not row.is_reference


def test_accumulation_repeats_all_but_the_optimizer(breakdown):
    row = predicted(breakdown, replace(RUN, settings={}, micro_batches=4, samples_per_step=8))
    # 1 + 0.5 + 10 + 1 + 20 four times; optimizer 2.5 and other 1 once
    assert row.step_ms.mid == pytest.approx(4 * 32.5 + 3.5)
    assert row.samples_per_s.mid == pytest.approx(8000 / (4 * 32.5 + 3.5))


def test_one_changed_stage_changes_its_own_part_alone(breakdown):
    plan = replace(RUN, settings={}, stages=(STAGES[0], scaled(STAGES[1], 0.5)))
    # Of the forward, stage 1 has 6 of 10 ms; the backward follows it, without stages of its own.
    assert predicted(breakdown, plan).step_ms.mid == pytest.approx(36.0 - 30.0 * 0.3)


def test_a_stage_that_a_plan_does_not_have_takes_no_time_there(breakdown):
    plan = replace(RUN, settings={}, stages=STAGES[:1])
    assert predicted(breakdown, plan).step_ms.mid == pytest.approx(36.0 - 30.0 * 0.6)


def test_the_interval_reaches_from_flops_to_bytes(breakdown):
    halved = tuple(replace(s, flops=s.flops / 2) for s in STAGES)
    row = predicted(breakdown, replace(RUN, settings={}, stages=halved))
    assert row.step_ms.low <= 36.0 - 0.5 * 0.95 * 30.0 < row.step_ms.mid
    assert row.step_ms.mid < 36.0 <= row.step_ms.high


def test_unmeasured_precision_widens_the_interval_and_is_said(breakdown):
    row = predicted(breakdown, replace(RUN, settings={}, is_half=True))
    assert row.step_ms.low == pytest.approx(36.0 - 15.0 - 1.0)  # half of forward, backward; no wait
    assert row.step_ms.high >= 36.0
    assert "mixed precision was not measured" in row.reasons[0]


def test_what_the_model_does_not_hold_is_said(breakdown):
    plan = replace(RUN, settings={"TRAIN.BATCH_SIZE": 2, "TRAIN.COMPILE_MODEL": True})
    assert "TRAIN.COMPILE_MODEL differs" in predicted(breakdown, plan).reasons[0]


def test_far_extrapolation_is_called_a_guess(breakdown):
    plan = replace(RUN, settings={}, stages=tuple(scaled(s, 100) for s in STAGES))
    assert any("a guess" in reason for reason in predicted(breakdown, plan).reasons)


def test_measured_beside_predicted(breakdown):
    found = MeasuredPlan(
        run_id="r", count=20, step_ms=30.0, low_ms=29.0, high_ms=31.0, samples_per_s=1.0,
        memory_bytes=None,
    )  # fmt: skip
    row = predicted(breakdown, replace(RUN, name="same"), {"same": found})
    assert row.error_share == pytest.approx(0.2)
    assert row.measured is found


RATES = (2.0, 0.5, 0.25)


def made_stages(rates=RATES):
    """Stages of different mixtures, with the times that these rates give them."""
    works = tuple(
        StageWork(name=f"s{n}", flops=flops, kept_bytes=kept, blocks=blocks)
        for n, (flops, kept, blocks) in enumerate(
            [(1.0, 8.0, 3), (5.0, 2.0, 1), (3.0, 3.0, 8), (0.5, 9.0, 5), (2.0, 1.0, 2)]
        )
    )
    times = {
        (w.name, "forward"): rates[0] * w.flops + rates[1] * w.kept_bytes + rates[2] * w.blocks
        for w in works
    }
    return replace(RUN, stages=works), times


def test_the_mixture_is_read_off_the_stages():
    run, times = made_stages()
    found = fit_mixture(times, run)
    assert (found.per_flop, found.per_byte, found.per_block) == pytest.approx(RATES)
    shares = shares_of(times, run, found)
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] == pytest.approx(2 * 11.5 / sum(times.values()))


def test_a_mixture_is_never_negative():
    run, times = made_stages((3.0, -0.05, 0.0))
    found = fit_mixture(times, run)
    assert min(found.per_flop, found.per_byte, found.per_block) >= 0
    assert found.per_flop == pytest.approx(3.0, rel=0.2)


def test_too_few_stages_tell_no_mixture():
    run, times = made_stages()
    assert fit_mixture(dict(list(times.items())[:3]), run) is None


def test_a_run_s_own_micro_batches_are_in_its_times():
    run, times = made_stages()
    doubled = {key: 2 * ms for key, ms in times.items()}
    assert fit_mixture(doubled, replace(run, micro_batches=2)).per_flop == pytest.approx(2.0)


def test_another_window_is_predicted_less_surely(breakdown):
    row = predicted(breakdown, replace(RUN, settings={"MODEL.WINDOW_SIZE": 7}))
    assert row.step_ms.high == pytest.approx(36.0 * (1 + WINDOW_ERROR))


def test_names_lose_what_all_of_them_begin_with(breakdown):
    plans = tuple(replace(RUN, name=f"vrt_spike_{name}") for name in ("baseline", "opt"))
    table = predict_plans(breakdown, PlanWork(run=RUN, plans=plans), {})
    assert [row.label for row in table.rows] == ["baseline", "opt"]
    assert predicted(breakdown, plans[0]).label == "vrt_spike_baseline"


def test_work_of_another_version_is_one_line():
    with pytest.raises(DiagnosticsError, match="does not fit this version"):
        work_from_mapping({"run": {}, "plans": []})


def write_plan(tmp_path, name, config, scale=1.0, started_at="2026-01-02T03:04:05+00:00"):
    steps = [make_step(1, 9.0, ("first",))] + [make_step(n, scale) for n in range(2, 30)]
    meta = {"config": config, "device": {"type": "cpu", "name": "A"}}
    run = MadeRun(ranks=[steps], run_id=name, started_at=started_at, meta=meta)
    return write_facts(tmp_path / "profiles" / name, run)


def test_the_newest_run_of_a_plan_is_found_by_its_settings(tmp_path):
    config = {"TRAIN": {"BATCH_SIZE": 2, "TOTAL_STEPS": 30}}
    write_plan(tmp_path, "train_20260102_030405_aaaa", config, 3.0)
    write_plan(tmp_path, "train_20260102_030405_bbbb", config, 2.0, "2026-01-03T03:04:05+00:00")
    write_plan(
        tmp_path, "train_20260102_030405_cccc", {"TRAIN": {"BATCH_SIZE": 4}}, 1.0,
        "2026-01-04T03:04:05+00:00",
    )  # fmt: skip
    (tmp_path / "profiles" / "train_20260102_030405_dddd").mkdir()
    (tmp_path / "profiles" / "train_20260102_030405_dddd" / "meta.json").write_text("{")
    plan = replace(RUN, name="plan", settings={"TRAIN.BATCH_SIZE": 2.0})
    device = {"type": "cpu", "name": "A"}
    found = measured_plans(tmp_path / "profiles", [plan], device)["plan"]
    assert found.run_id == "train_20260102_030405_bbbb"
    assert found.step_ms == pytest.approx(72.0)
    assert found.count == 28
    assert measured_plans(tmp_path / "profiles", [plan], {"type": "cpu", "name": "B"}) == {}
    assert measured_plans(tmp_path / "nowhere", [plan], device) == {}
