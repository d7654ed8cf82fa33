"""The laws of docs/records.md, on the host's clock."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from vrtspike.profiling.records import MEASURED_PHASES, PHASES


class Slow(nn.Module):
    """Takes a known time of the fake clock."""

    def __init__(self, clock, ms):
        super().__init__()
        self.clock, self.ms = clock, ms

    def forward(self, x):
        self.clock.pass_ms(self.ms)
        return x


def run_step(recorder, clock, step, spent, *, gap_ms=0.0, **end):
    recorder.begin_step(step)
    for name, ms in spent:
        with recorder.phase(name):
            clock.pass_ms(ms)
        clock.pass_ms(gap_ms)
    recorder.end_step(micro_batches=1, samples=2, **end)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.lists(st.tuples(st.sampled_from(MEASURED_PHASES), st.integers(0, 50)), max_size=9),
        min_size=1,
        max_size=4,
    ),
    gap=st.integers(0, 7),
)
def test_phases_sum_to_the_step_and_steps_tile_the_time(new_recorder, clock, heard, steps, gap):
    heard.steps.clear()
    with new_recorder() as recorder:
        start = clock.now_ns
        for number, spent in enumerate(steps, start=1):
            run_step(recorder, clock, number, spent, gap_ms=gap)
            clock.pass_ms(3)
        end = clock.now_ns - 3_000_000
    for record, spent in zip(heard.steps, steps, strict=True):
        parts = [record.host_ms[phase] for phase in PHASES]
        assert sum(parts) == pytest.approx(record.host_ms["step"], abs=1e-9)
        for phase in MEASURED_PHASES:
            assert record.host_ms[phase] == sum(ms for name, ms in spent if name == phase)
        assert record.host_ms["other"] >= 0
    assert sum(r.host_ms["step"] for r in heard.steps) == pytest.approx((end - start) / 1e6)
    later = [r.start_unix_s for r in heard.steps[1:]]
    ends = [r.start_unix_s + r.host_ms["step"] / 1e3 for r in heard.steps[:-1]]
    assert later == pytest.approx(ends)


def test_what_a_nested_phase_takes_is_not_charged_to_the_outer_one(new_recorder, clock, heard):
    with new_recorder() as recorder:
        recorder.begin_step(1)
        with recorder.phase("optimizer"):
            clock.pass_ms(2)
            with recorder.phase("data_wait"):
                clock.pass_ms(5)
            clock.pass_ms(4)
        recorder.end_step(micro_batches=1, samples=1)
    assert heard.steps[0].host_ms["optimizer"] == 6
    assert heard.steps[0].host_ms["data_wait"] == 5
    assert heard.steps[0].host_ms["other"] == 0


def test_a_fetch_between_two_steps_belongs_to_the_later(new_recorder, clock, heard):
    with new_recorder() as recorder:
        run_step(recorder, clock, 1, [("forward", 10)])
        with recorder.phase("data_wait"):
            clock.pass_ms(8)
        run_step(recorder, clock, 2, [("forward", 10)])
    assert heard.steps[0].host_ms["data_wait"] == 0
    assert heard.steps[1].host_ms["data_wait"] == 8
    assert heard.steps[1].host_ms["step"] == 18


def test_preparation_before_the_first_step_is_no_part_of_it(new_recorder, clock, heard):
    with new_recorder() as recorder:
        with recorder.span("dataset_creation"):
            clock.pass_ms(100)
        clock.pass_ms(1000)
        run_step(recorder, clock, 1, [("forward", 10)])
    assert heard.steps[0].host_ms["step"] == 10


def test_stages_and_the_rest_sum_to_the_forward_over_all_micro_batches(new_recorder, clock, heard):
    model = nn.Sequential(Slow(clock, 3), Slow(clock, 5), Slow(clock, 7), Slow(clock, 11))
    with new_recorder() as recorder:
        recorder.observe(model, {"a": ["0", "2"], "b": ["1"]})
        recorder.begin_step(1)
        for _ in range(3):
            with recorder.phase("forward"):
                clock.pass_ms(1)
                model(torch.zeros(1))
        recorder.end_step(micro_batches=3, samples=3)
    record = heard.stages[0]
    assert record.ms == {"a": 30.0, "b": 15.0, "forward.other": 36.0}
    assert record.calls == {"a": 6, "b": 3}
    assert sum(record.ms.values()) == heard.steps[0].host_ms["forward"]
    assert (record.clock, record.phase, record.step) == ("host", "forward", 1)


def test_spans_lie_outside_the_steps_and_mark_the_next_one(new_recorder, clock, heard):
    model = nn.Sequential(Slow(clock, 3))
    with new_recorder() as recorder:
        recorder.observe(model, {"a": ["0"]})
        run_step(recorder, clock, 1, [("forward", 10)])
        clock.pass_ms(2)
        with recorder.span("validation") as found:
            with recorder.phase("forward"):
                model(torch.zeros(1))
            clock.pass_ms(50)
            found.values["psnr_rgb"] = 28.5
            with recorder.span("checkpoint"):
                clock.pass_ms(20)
        run_step(recorder, clock, 2, [("backward", 4)])
        run_step(recorder, clock, 3, [("backward", 4)])
    assert [(s.name, s.host_ms, s.step) for s in heard.spans] == [
        ("checkpoint", 20.0, 1),
        ("validation", 73.0, 1),
    ]
    assert heard.spans[1].values == {"psnr_rgb": 28.5}
    assert [s.host_ms["step"] for s in heard.steps] == [10, 4, 4]
    assert [s.tags for s in heard.steps] == [("first",), ("validation", "checkpoint"), ()]
    assert all(record.calls == {"a": 0} for record in heard.stages)


def test_tags_reach_the_running_step_or_the_next(new_recorder, clock, heard):
    with new_recorder() as recorder:
        recorder.begin_step(1)
        recorder.tag("compile")
        recorder.end_step(micro_batches=1, samples=1)
        recorder.tag("compile")
        run_step(recorder, clock, 2, [])
        run_step(recorder, clock, 3, [])
        with pytest.raises(ValueError, match="unknown step tag 'slow'"):
            recorder.tag("slow")
    assert [s.tags for s in heard.steps] == [("first", "compile"), ("compile",), ()]


def test_a_full_garbage_collection_tags_its_step(new_recorder, clock, heard):
    import gc

    gc.disable()
    try:
        with new_recorder() as recorder:
            run_step(recorder, clock, 1, [])
            recorder.begin_step(2)
            gc.collect(0)
            recorder.end_step(micro_batches=1, samples=1)
            recorder.begin_step(3)
            gc.collect()
            recorder.end_step(micro_batches=1, samples=1)
        watching = len(gc.callbacks)
    finally:
        gc.enable()
    assert [s.tags for s in heard.steps] == [("first",), (), ("gc",)]
    assert not any("StepTags" in repr(callback) for callback in gc.callbacks), watching


def test_losses_are_read_and_what_is_no_number_is_named(new_recorder, clock, heard):
    loss = torch.tensor(0.5, requires_grad=True)
    with new_recorder() as recorder:
        run_step(recorder, clock, 1, [], loss=loss, loss_terms={"charb": 0.25}, lr=1e-4)
        run_step(recorder, clock, 2, [], loss=float("nan"), grad_norm=torch.tensor(float("inf")))
    first, second = heard.steps
    assert (first.loss, first.loss_terms, first.lr, first.nonfinite) == (
        0.5,
        {"charb": 0.25},
        1e-4,
        {},
    )
    assert (second.loss, second.grad_norm) == (None, None)
    assert second.nonfinite == {"loss": "nan", "grad_norm": "inf"}


def test_unknown_phases_are_refused_and_a_step_cannot_end_in_a_phase(new_recorder):
    with new_recorder() as recorder:
        with pytest.raises(ValueError, match="unknown phase 'other'; known: data_wait"):
            recorder.phase("other")
        recorder.begin_step(1)
        with (
            pytest.raises(RuntimeError, match="inside its phase 'forward'"),
            recorder.phase("forward"),
        ):
            recorder.end_step(micro_batches=1, samples=1)


def test_an_exception_closes_stage_and_phase_and_the_run_has_failed(
    new_recorder, clock, heard, tmp_path
):
    class Breaks(nn.Module):
        def forward(self, x):
            clock.pass_ms(4)
            raise ArithmeticError("overflow")

    model = nn.Sequential(Slow(clock, 3), Breaks())

    def train():
        with new_recorder() as recorder:
            recorder.observe(model, {"a": ["0"], "b": ["1"]})
            recorder.begin_step(1)
            with pytest.raises(ArithmeticError), recorder.phase("forward"):
                model(torch.zeros(1))
            recorder.end_step(micro_batches=1, samples=1)
            recorder.begin_step(2)
            with recorder.phase("forward"):
                model(torch.zeros(1))

    with pytest.raises(ArithmeticError):
        train()
    assert heard.stages[0].ms == {"a": 3.0, "b": 4.0, "forward.other": 0.0}
    assert [s.step for s in heard.steps] == [1]
    meta = json.loads((tmp_path / "facts" / "meta.json").read_text())
    assert meta["status"] == "failed"
    assert meta["ended_at"] > meta["started_at"]
    assert heard.closed == 1
    model[0](torch.zeros(1))
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks


def test_a_stage_cut_by_ctrl_c_does_not_reach_into_the_next_step(new_recorder, clock, heard):
    class Interrupted(nn.Module):
        def forward(self, x):
            clock.pass_ms(4)
            raise KeyboardInterrupt

    model = nn.Sequential(Slow(clock, 3), Interrupted())
    with new_recorder() as recorder:
        recorder.observe(model, {"a": ["0"], "b": ["1"]})
        for step in (1, 2):
            recorder.begin_step(step)
            with pytest.raises(KeyboardInterrupt), recorder.phase("forward"):
                model(torch.zeros(1))
            clock.pass_ms(50)
            recorder.end_step(micro_batches=1, samples=1)
    assert [r.ms for r in heard.stages] == [{"a": 3.0, "b": 4.0, "forward.other": 0.0}] * 2


def test_stages_count_in_the_forward_and_nowhere_else(new_recorder, clock, heard):
    model = nn.Sequential(Slow(clock, 3))
    x = torch.zeros(1)
    with new_recorder() as recorder:
        recorder.observe(model, {"a": ["0"]})
        recorder.begin_step(1)
        with recorder.phase("forward"):
            with recorder.phase("loss"):
                model(x)
            model(x)
        model(x)
        with recorder.phase("backward"):
            model(x)
        with recorder.span("checkpoint"), recorder.phase("forward"):
            model(x)
        recorder.end_step(micro_batches=1, samples=1)
    assert heard.stages[0].ms == {"a": 3.0, "forward.other": 0.0}
    assert heard.steps[0].host_ms["other"] == 6.0


def test_a_phase_before_a_span_is_lost_with_the_time_it_took(new_recorder, clock, heard):
    with new_recorder() as recorder:
        run_step(recorder, clock, 1, [])
        with recorder.phase("data_wait"):
            clock.pass_ms(8)
        with recorder.span("validation"):
            clock.pass_ms(50)
        run_step(recorder, clock, 2, [("forward", 4)])
    assert heard.steps[1].host_ms["step"] == 4
    assert heard.steps[1].host_ms["data_wait"] == 0


def test_an_exception_in_a_span_is_written_with_it(new_recorder, clock, heard):
    with new_recorder() as recorder:
        with pytest.raises(KeyboardInterrupt), recorder.span("validation"):
            raise KeyboardInterrupt
        run_step(recorder, clock, 1, [])
    assert heard.spans[0].values == {"error": "KeyboardInterrupt"}
    assert heard.steps[0].tags == ("first", "validation")


def test_ctrl_c_ends_a_run_as_interrupted(new_recorder, tmp_path):
    with pytest.raises(KeyboardInterrupt), new_recorder():
        raise KeyboardInterrupt
    assert json.loads((tmp_path / "facts" / "meta.json").read_text())["status"] == "interrupted"


def test_files_hold_what_the_listeners_heard(new_recorder, clock, heard, tmp_path, read_lines):
    model = nn.Sequential(Slow(clock, 3))
    with new_recorder(first_step=41) as recorder:
        recorder.observe(model, {"a": ["0"]})
        assert json.loads((tmp_path / "facts/meta.json").read_text())["status"] == "running"
        for step in (41, 42, 43):
            run_step(recorder, clock, step, [("forward", 2)])
        recorder.event("cache", hits=3, share=float("nan"), note=None)
    facts = tmp_path / "facts"
    steps = read_lines(facts / "steps.rank0.jsonl")
    assert [line["step"] for line in steps] == [41, 42, 43]
    assert [line["host_ms"] for line in steps] == [step.host_ms for step in heard.steps]
    kinds = [line["kind"] for line in read_lines(facts / "spans.rank0.jsonl")]
    assert sorted(kinds) == ["event", "event", "stages", "stages", "stages"]
    silent, cache = heard.events[1], heard.events[0]
    assert cache.values == {"hits": 3, "share": "nan", "note": None}
    assert (silent.name, silent.values) == ("stages_never_called", {"stages": "a"})
    meta = json.loads((facts / "meta.json").read_text())
    assert (meta["status"], meta["stages"], meta["first_step"]) == ("finished", ["a"], 41)


def test_finish_counts_once_and_later_calls_record_nothing(new_recorder, clock, heard, tmp_path):
    recorder = new_recorder()
    with recorder:
        run_step(recorder, clock, 1, [("forward", 1)])
        recorder.finish("interrupted")
        run_step(recorder, clock, 2, [("forward", 1)])
    assert json.loads((tmp_path / "facts/meta.json").read_text())["status"] == "interrupted"
    assert [s.step for s in heard.steps] == [1]


def test_memory_does_not_grow_with_the_number_of_steps(new_recorder, clock):
    import tracemalloc

    def steps(recorder, first, count):
        for number in range(first, first + count):
            run_step(recorder, clock, number, [("forward", 1)], loss=1.0)

    class Deaf:
        def on_step(self, step, stages):
            pass

        def close(self):
            pass

    with new_recorder(listeners=(Deaf(),)) as recorder:
        tracemalloc.start()
        steps(recorder, 1, 200)
        recorder.flush()
        before = tracemalloc.get_traced_memory()[0]
        steps(recorder, 201, 2000)
        recorder.flush()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    assert grown < 20_000
