"""One primitive, as `with` and as decorator, with and without a recorder."""

import pytest

from vrtspike.profiling.null_recorder import NullRecorder
from vrtspike.profiling.spans import span


@span("forward")
def forward(clock, ms):
    clock.pass_ms(ms)
    return ms


def test_it_does_nothing_without_a_recorder(clock):
    assert forward(clock, 3) == 3
    with span("validation") as found:
        found.values["psnr_rgb"] = 1.0


def test_it_is_a_phase_inside_and_a_span_between_steps(new_recorder, clock, heard):
    with new_recorder() as recorder:
        recorder.begin_step(1)
        assert forward(clock, 3) == 3
        with span("forward"), span("loss"):
            clock.pass_ms(2)
        recorder.end_step(micro_batches=1, samples=1)
        with span("validation") as found:
            found.values["psnr_rgb"] = 28.5
    assert heard.steps[0].host_ms["forward"] == 3
    assert heard.steps[0].host_ms["loss"] == 2
    assert [(s.name, s.values) for s in heard.spans] == [("validation", {"psnr_rgb": 28.5})]
    assert forward(clock, 3) == 3


@span("forward")
def breaks(clock):
    clock.pass_ms(2)
    raise ArithmeticError


def test_it_is_closed_by_an_exception(new_recorder, clock, heard):
    with new_recorder() as recorder:
        recorder.begin_step(1)
        with pytest.raises(ArithmeticError):
            breaks(clock)
        recorder.end_step(micro_batches=1, samples=1)
    assert heard.steps[0].host_ms["forward"] == 2


def test_the_null_recorder_takes_every_call(clock):
    with NullRecorder() as recorder:
        recorder.observe(None, {})
        recorder.begin_step(1)
        with recorder.phase("forward"), recorder.span("validation") as found:
            found.values["a"] = 1
        recorder.end_step(micro_batches=1, samples=1, loss=None)
        recorder.tag("compile")
        recorder.event("cache", hits=1)
        recorder.finish("finished")
