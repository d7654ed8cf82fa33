"""How many steps a line of a log stands for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics.parsers.log_windows import build_windows


def columns(windows):
    return list(zip(windows.index, windows["num_steps"], windows["num_tagged"], strict=True))


def test_every_tenth_step_and_the_first_is_tagged():
    windows = build_windows([10, 20, 30], {})
    assert columns(windows) == [(10, 9, 1), (20, 10, 0), (30, 10, 0)]
    assert list(windows["tags"]) == ["first", "", ""]
    assert not windows["is_tagged"].any()


def test_every_step_so_that_the_first_window_is_all_tagged():
    windows = build_windows([1, 2, 3], {3: "validation"})
    assert columns(windows) == [(1, 1, 1), (2, 1, 0), (3, 1, 1)]
    assert list(windows["is_tagged"]) == [True, False, True]


def test_a_resumed_run_has_a_first_window_as_long_as_the_next():
    assert columns(build_windows([1010, 1020], {})) == [(1010, 9, 1), (1020, 10, 0)]


def test_lost_lines_widen_no_window():
    windows = build_windows([10, 20, 50, 60, 70], {})
    assert list(windows["num_steps"]) == [9, 10, 10, 10, 10]


def test_a_short_last_window_is_short():
    assert list(build_windows([10, 20, 30, 34], {})["num_steps"]) == [9, 10, 10, 4]


@pytest.mark.parametrize(("end", "length"), [(0, 1), (1, 1), (10, 9), (5000, 49)])
def test_a_lone_window(end, length):
    assert list(build_windows([end], {})["num_steps"]) == [length]


@settings(max_examples=50, deadline=None)
@given(
    ends=st.lists(st.integers(0, 200), min_size=1, max_size=30),
    tagged=st.dictionaries(st.integers(0, 200), st.just("validation"), max_size=10),
)
def test_windows_never_overlap_and_never_count_a_step_twice(ends, tagged):
    windows = build_windows(ends, tagged)
    shuffled = build_windows(list(reversed(ends)), tagged)
    assert columns(windows) == columns(shuffled)
    assert (windows["num_steps"] > 0).all()
    length = windows["num_steps"].where(
        windows["is_tagged"], windows["num_steps"] + windows["num_tagged"]
    )
    starts = windows.index - length
    assert (starts[1:].to_numpy() >= windows.index[:-1].to_numpy()).all()
