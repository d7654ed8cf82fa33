"""A signal during a validation ends the run as that signal, with a checkpoint."""

import signal
from dataclasses import replace

import pytest
import torch

from tests.vrtspike.engine.test_trainer import validator
from vrtspike.data.loading_faults import LoadingDiedError
from vrtspike.engine.distributed import World


def signalled(one, *batches):
    """Batches, and the signal that comes with the second one."""
    for place, each in enumerate(batches):
        if place == 1:
            one.crew.stop.receive(signal.SIGTERM)
        if isinstance(each, Exception):
            raise each
        yield each


def stopped_by(one, batches):
    made = validator(one.learner, batches)
    return replace(made, asked_to_stop=lambda: one.crew.stop.requested)


DIED = LoadingDiedError("a data loading process died")


@pytest.mark.parametrize("second", ["a batch", DIED])
def test_a_validation_is_abandoned_and_the_step_saved(bench, batch, second):
    one = bench([batch(1)], 5)
    one = replace(one, schedule=replace(one.schedule, validate_every=2))
    second = batch(3) if second == "a batch" else second
    one.learner.model.train()
    assert not one.train(validator=stopped_by(one, signalled(one, batch(2), second, batch(4))))
    assert [(name, position.step) for name, position in one.saver.saved] == [("last.pt", 2)]
    assert one.said[-1] == "[train] asked to stop: validation abandoned"
    assert not any(line.startswith("[val]") for line in one.said)
    assert one.crew.stop.exit_code == 143
    assert one.learner.model.training


def test_the_last_validation_that_a_signal_ends_leaves_the_run_interrupted(bench, batch):
    for every in (1, 1000):
        one = bench([batch(1)], 1)
        one = replace(one, schedule=replace(one.schedule, validate_every=every))
        assert not one.train(validator=stopped_by(one, signalled(one, batch(2), batch(3))))
        assert [(name, position.step) for name, position in one.saver.saved] == [("last.pt", 1)]
        assert sum("abandoned" in line for line in one.said) == 1


def test_a_loading_process_that_dies_without_a_signal_is_a_fault_of_the_validation(bench, batch):
    def dying():
        yield batch(2)
        raise DIED

    one = bench([batch(1)], 1)
    with pytest.raises(LoadingDiedError):
        one.train(validator=validator(one.learner, dying()))


class OtherRankStopped(World):
    """A world in which another rank broke its validation off."""

    def sum(self, values):
        return values + 1 if values.ndim == 0 else values


def test_ranks_abandon_a_validation_together(bench, batch):
    one = bench([batch(1)], 1)
    made = replace(validator(one.learner, [batch(2)]), world=OtherRankStopped(torch.device("cpu")))
    assert made.measure() is None
