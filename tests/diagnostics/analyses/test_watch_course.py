"""A watched training: lines on one time axis, growth with its process, and bounded memory."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diagnostics.analyses.watch_course import MAX_PROCESSES, Line, WatchCourse, WatchView
from diagnostics.report.watch_words import growth_text
from diagnostics.watched import Moment
from tests.diagnostics.memory.moments import GIB, MIB, START_UNIX_S, course, process, with_process


def view_of(moments: Any) -> WatchView:
    made = WatchCourse()
    for moment in moments:
        made.add(moment)
    return made.view()


def grown(view: WatchView) -> list[tuple[str, int | None]]:
    return [(each.kind, each.pid) for each in view.growing]


@pytest.mark.parametrize("pid", [10, 11])
def test_a_leak_is_named_with_its_process_within_a_hundred_seconds(pid: int) -> None:
    view = view_of(course(100, {pid: lambda at: 1.0 * at}))
    assert grown(view) == [("process", pid)]
    (growing,) = view.growing
    assert growing.trend.slope == pytest.approx(MIB, rel=0.1)
    assert view.seconds_left == pytest.approx(4 * GIB / growing.trend.slope)


def test_a_leak_in_each_sample_is_that_of_all_loading_processes() -> None:
    view = view_of(course(100, {pid: lambda at: 0.5 * at for pid in (11, 12)}))
    (growing,) = view.growing
    assert (growing.kind, growing.role, growing.count) == ("processes", "worker", 2)
    assert sorted(growing.pids) == [11, 12]
    assert "2 loader processes together (1" in growth_text(growing)


def test_it_says_since_when_it_grows() -> None:
    view = view_of(course(200, {11: lambda at: 2.0 * max(0, at - 60)}))
    (growing,) = view.growing
    assert growing.since_unix_s - START_UNIX_S == pytest.approx(60, abs=25)


@pytest.mark.parametrize(
    "rise",
    [
        lambda at: 0.0,
        lambda at: 400 * (1 - math.exp(-at / 15)),
        lambda at: 300.0 if at > 90 else 0.0,
        lambda at: 6.0 * (at % 40),
        lambda at: 200.0 - at,
    ],
    ids=["level", "warm-up", "a step", "saw-tooth", "falling"],
)
def test_what_is_no_leak_is_not_told(rise: Any) -> None:
    for seconds in (100, 200, 590):
        view = view_of(course(seconds, {10: rise, 11: rise}))
        assert view.is_judged
        assert grown(view) == []
        assert view.seconds_left is None


def test_too_few_moments_are_not_judged() -> None:
    view = view_of(course(5, {11: lambda at: 100.0 * at}))
    assert not view.is_judged
    assert not view.growing


def filling(pid: int, **fields: Any) -> Any:
    """/dev/shm grows by a MiB a second; a figure of one process grows with it."""

    def change(at: int, moment: Moment) -> Moment:
        with_shm = replace(moment, shm_used_bytes=(8 + at) * MIB)
        return with_process(with_shm, pid, **{name: size(at) for name, size in fields.items()})

    return change


def test_the_process_that_maps_what_fills_shared_memory_is_named() -> None:
    mapped = filling(12, shared_bytes=lambda at: (20 + at) * MIB)
    assert grown(view_of(course(100, change=mapped))) == [("/dev/shm", 12)]


def test_the_process_that_writes_files_there_and_closes_them_is_named() -> None:
    written = filling(11, written_bytes=lambda at: at * MIB)
    assert grown(view_of(course(100, change=written))) == [("/dev/shm", 11)]


def test_the_process_that_filled_it_is_named_after_its_end() -> None:
    fill = filling(11, written_bytes=lambda at: at * MIB)

    def change(at: int, moment: Moment) -> Moment:
        filled = fill(at, moment)
        left = (each for each in filled.processes if at < 95 or each.pid != 11)
        return replace(filled, processes=tuple(left))

    assert grown(view_of(course(100, change=change))) == [("/dev/shm", 11)]


def test_nobody_is_named_who_moves_much_less() -> None:
    little = filling(11, written_bytes=lambda at: at * MIB // 4)
    assert grown(view_of(course(100, change=little))) == [("/dev/shm", None)]


def test_mapped_files_alone_are_no_growth() -> None:
    def change(at: int, moment: Moment) -> Moment:
        return with_process(moment, 11, shared_bytes=(20 + 3 * at) * MIB)

    assert grown(view_of(course(100, change=change))) == []


def test_a_number_that_is_given_anew_is_another_process() -> None:
    def change(at: int, moment: Moment) -> Moment:
        return with_process(moment, 11, started=1 if at < 60 else 2)

    view = view_of(course(70, change=change))
    (line,) = (each for each in view.lines if each.pid == 11)
    assert np.isnan(line.values[:60]).all()
    assert not np.isnan(line.values[60:]).any()


def test_everything_lies_on_one_time_axis() -> None:
    view = view_of(course(30))
    assert {len(each.values) for each in view.lines} == {30} == {len(view.at_s)}
    by_kind = {each.kind: each for each in view.lines}
    assert by_kind["GPU"].now == 80.0
    assert np.isnan(by_kind["disk read"].values[0])
    assert by_kind["disk read"].now == pytest.approx(3 * MIB)
    total = sum(each.now or 0 for each in view.lines if each.kind == "process")
    assert by_kind["all"].now == total
    assert view.own_core_share == pytest.approx(0.01)


def test_a_counter_that_begins_anew_is_no_negative_rate() -> None:
    def change(at: int, moment: Moment) -> Moment:
        return replace(moment, disk_read_bytes=MIB * (at % 7))

    rates = next(e for e in view_of(course(30, change=change)).lines if e.kind == "disk read")
    assert np.nanmin(rates.values) >= 0


def test_many_processes_are_shown_by_size_and_the_rest_together() -> None:
    def change(at: int, moment: Moment) -> Moment:
        more = tuple(process(100 + n, "worker", 10 + n) for n in range(40))
        return replace(moment, processes=(*moment.processes, *more))

    view = view_of(course(3, change=change))
    shown = [each for each in view.lines if each.kind == "process"]
    assert len(shown) == MAX_PROCESSES - 1
    (rest,) = (each for each in view.lines if each.kind == "processes")
    total = next(each for each in view.lines if each.kind == "all")
    assert rest.count == 44 - len(shown)
    assert (rest.now or 0) + sum(each.now or 0 for each in shown) == total.now
    assert [each.role for each in shown][:1] == ["main"]


def test_a_long_watch_stays_bounded_and_keeps_its_beginning() -> None:
    made = WatchCourse(max_moments=50)
    for moment in course(1000, {11: lambda at: 1.0 * at}):
        made.add(moment)
    view = made.view()
    assert len(view.at_s) <= 50
    assert made.moments[0].at_s == 0.0
    assert view.at_s[-1] == 999
    assert grown(view) == [("process", 11)]


def test_what_cannot_be_read_is_unknown_and_not_zero() -> None:
    blank = Moment(at_s=0.0, unix_s=START_UNIX_S, processes=(process(10, "main", 1),))
    later = replace(blank, at_s=1.0, unix_s=START_UNIX_S + 1)
    view = view_of([blank, later])
    assert {each.kind: each.now for each in view.lines if each.kind != "process"} == {
        "disk read": None,
        "disk write": None,
        "/dev/shm": None,
        "cache": None,
        "free": None,
    }


def test_what_grew_until_the_training_ended_is_still_told() -> None:
    """A training that ends gives its memory back before its process is gone."""
    made = WatchCourse()
    for moment in course(100, {11: lambda at: 1.0 * at if at < 97 else 0.0}):
        made.add(moment)
        view = made.view()
    assert grown(view) == [("process", 11)]
    for moment in course(200, {11: lambda at: 1.0 * at if at < 97 else 0.0}):
        if moment.at_s >= 100:
            made.add(moment)
            view = made.view()
    assert grown(view) == []


def test_a_process_that_ended_is_told_for_longer_than_one_that_lives() -> None:
    made = WatchCourse()
    seen = {}
    for moment in course(150, {11: lambda at: 1.0 * at}):
        ended = tuple(p for p in moment.processes if moment.at_s < 100 or p.pid != 11)
        made.add(replace(moment, processes=ended))
        seen[moment.at_s] = grown(made.view())
    assert seen[99] == seen[125] == [("process", 11)]
    assert seen[149] == []


def on_gpu(by_pid: Any, used: Any) -> Any:
    def change(at: int, moment: Moment) -> Moment:
        gpu = replace(moment.gpus[0], by_pid=by_pid(at), used_bytes=used(at))
        return replace(moment, gpus=(gpu,))

    return change


def test_growth_on_a_gpu_is_named_with_its_process_and_its_own_end() -> None:
    grows = on_gpu(lambda at: {10: GIB + at * MIB}, lambda at: 2 * GIB + at * MIB)
    (growing,) = (view := view_of(course(100, change=grows))).growing
    assert (growing.kind, growing.index, growing.pid, growing.role) == ("GPU", 0, 10, "main")
    assert growing.seconds_left == pytest.approx(6 * 1024 - 99, rel=0.05)
    assert view.seconds_left is None  # of the machine's memory nothing is taken


def test_without_word_of_processes_the_gpu_as_a_whole_is_told() -> None:
    grows = on_gpu(lambda at: {}, lambda at: GIB + at * MIB)
    (growing,) = view_of(course(100, change=grows)).growing
    assert (growing.kind, growing.index, growing.pid) == ("GPU", 0, None)


def test_a_gpu_where_somebody_else_grows_is_no_growth_of_the_training() -> None:
    grows = on_gpu(lambda at: {10: GIB}, lambda at: 2 * GIB + at * MIB)
    assert grown(view_of(course(100, change=grows))) == []


@pytest.mark.parametrize(
    ("values", "now"),
    [([1.0, 2.0, 3.0], 3.0), ([1.0, 2.0, math.nan], 2.0), ([5.0], 5.0), ([math.nan], None)],
)
def test_a_quantity_is_now_what_was_known_last(values: list[float], now: float | None) -> None:
    line = Line(kind="GPU memory", unit="bytes", values=np.array(values))
    assert line.now == now
