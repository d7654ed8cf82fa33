"""What a loading process says of a batch: parts that sum to the whole, or nothing."""

import pickle

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import default_collate

from vrtspike.profiling.loading_clock import LoadingClock, SilentTimer, TimedBatch, unpack_timing
from vrtspike.profiling.records import LOADING_PARTS


@pytest.fixture
def ticking(clock):
    return LoadingClock(perf_ns=clock.perf_ns)


def load(ticking, clock, spent):
    """A sample whose parts take a known time, the last of them inside the one before."""
    with ticking.sample():
        clock.pass_ms(1)
        for name, ms in spent:
            with ticking.part(name):
                clock.pass_ms(ms)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(LOADING_PARTS), st.integers(0, 9)), max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_parts_and_the_rest_sum_to_the_making_of_the_batch(clock, samples):
    ticking = LoadingClock(perf_ns=clock.perf_ns)
    for spent in samples:
        load(ticking, clock, spent)
        clock.pass_ms(100)  # between samples the process waits: no part of the making
    batch = ticking.collating(lambda _: clock.pass_ms(4))(samples)
    timing = unpack_timing(batch.timing)
    expected = {
        name: sum(ms for spent in samples for part, ms in spent if part == name)
        for name in LOADING_PARTS
    }
    expected["collate"] += 4
    expected["other"] = len(samples)
    assert timing.part_ns == {name: ms * 1_000_000 for name, ms in expected.items()}
    assert timing.made_ns == sum(expected.values()) * 1_000_000
    assert (timing.samples, timing.worker) == (len(samples), None)
    assert timing.done_ns == clock.now_ns


def test_a_part_inside_another_is_not_charged_twice(ticking, clock):
    with ticking.sample(), ticking.part("decode"):
        clock.pass_ms(2)
        with ticking.part("read"):
            clock.pass_ms(5)
        clock.pass_ms(3)
    timing = unpack_timing(ticking.pack(1, worker=3))
    assert timing.part_ns["decode"] == 5_000_000
    assert timing.part_ns["read"] == 5_000_000
    assert timing.made_ns == 10_000_000
    assert timing.worker == 3


def test_every_batch_starts_from_nothing(ticking, clock):
    load(ticking, clock, [("read", 7)])
    ticking.pack(1, worker=0)
    load(ticking, clock, [("decode", 2)])
    timing = unpack_timing(ticking.pack(1, worker=0))
    assert timing.part_ns["read"] == 0
    assert timing.made_ns == 3_000_000


def test_samples_of_another_batch_make_the_timing_unknown(ticking, clock):
    """As when somebody took a sample beside the loader, or the data set knows no clock."""
    load(ticking, clock, [("read", 7)])
    batch = ticking.collating(list)([1, 2])
    assert batch == TimedBatch([1, 2], b"")
    assert unpack_timing(batch.timing) is None
    assert unpack_timing(b"short") is None
    load(ticking, clock, [])
    assert unpack_timing(ticking.pack(1, worker=0)).made_ns == 1_000_000


def test_a_sample_that_fails_leaves_nothing_behind(ticking, clock):
    def fail():
        with ticking.sample(), ticking.part("decode"):
            clock.pass_ms(5)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    load(ticking, clock, [("read", 1)])
    assert unpack_timing(ticking.pack(1, worker=0)).made_ns == 2_000_000


def test_the_batch_itself_is_what_the_plain_collation_gives(ticking):
    samples = [{"x": torch.rand(2, 3), "name": str(n)} for n in range(3)]
    plain, timed = default_collate(samples), ticking.collating(default_collate)(samples).batch
    assert torch.equal(plain.pop("x"), timed.pop("x"))
    assert plain == timed


def test_a_data_set_that_knows_no_clock_is_timed_by_sample(ticking, clock):
    class Plain:
        def __getitem__(self, index):
            clock.pass_ms(6)
            return index

        def __len__(self):
            return 4

    timed = ticking.timing_samples(Plain())
    batch = ticking.collating(list)([timed[0], timed[3]])
    assert (batch.batch, len(timed)) == ([0, 3], 4)
    assert unpack_timing(batch.timing).part_ns["other"] == 12_000_000


def test_parts_may_be_named_otherwise_and_wrong_names_are_refused(clock):
    own = LoadingClock(("tokenise",), perf_ns=clock.perf_ns)
    assert own.parts == ("tokenise", "collate", "other")
    with own.sample(), own.part("tokenise"):
        clock.pass_ms(2)
    expected = {"tokenise": 2_000_000, "collate": 0, "other": 0}
    assert unpack_timing(own.pack(1, worker=0)).part_ns == expected
    with pytest.raises(ValueError, match="unknown part 'decode'; known: tokenise"):
        own.part("decode")


def test_data_set_and_collation_share_their_clock_in_a_spawned_process():
    """A process that is spawned gets both in one pickle."""
    ticking = LoadingClock()
    dataset, collate = pickle.loads(
        pickle.dumps((ticking.timing_samples([5, 6]), ticking.collating(list)))
    )
    batch = collate([dataset[0], dataset[1]])
    assert unpack_timing(batch.timing).samples == 2


def test_the_silent_timer_measures_nothing():
    with SilentTimer().sample(), SilentTimer().part("whatever"):
        pass


@given(st.lists(st.integers(0, 50), min_size=8, max_size=8))
def test_a_clock_that_steps_back_makes_no_part_negative(moments):
    readings = iter([*moments, 99])
    ticking = LoadingClock(perf_ns=lambda: next(readings))
    with ticking.sample(), ticking.part("read"):
        with ticking.part("decode"):
            pass
        with ticking.part("augment"):
            pass
    timing = unpack_timing(ticking.pack(1, None))
    assert min(timing.part_ns.values()) >= 0
    assert timing.made_ns == max(moments) - moments[0]
