"""Memory instants of a trace: exact maxima, a bounded course, whatever pieces and values are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from diagnostics.parsers import trace_parts
from diagnostics.parsers.trace_file import parse_trace
from diagnostics.parsers.trace_memory import MAX_DEVICES, MAX_POINTS, MemoryCourse
from diagnostics.trace import RecordedMemory
from tests.diagnostics.trace_factory import event, memory, starved_steps, write_text, write_trace

NAN = float("nan")
INSTANTS = st.lists(
    st.tuples(
        st.integers(-(10**12), 10**12),
        st.one_of(st.just(NAN), st.integers(0, 10**11).map(float)),
        st.one_of(st.just(NAN), st.integers(0, 10**11).map(float)),
    ),
    max_size=600,
)


def course_of(rows: list[tuple[int, float, float]]) -> MemoryCourse:
    table = np.array(rows, np.float64).reshape(-1, 3)
    return MemoryCourse.of(table[:, 0], table[:, 1:])


def told(course: MemoryCourse) -> tuple[object, ...]:
    values = np.nan_to_num(course.maxima, nan=-1.0).tolist()
    peaks = np.nan_to_num(course.peaks, nan=-1.0).tolist()
    return course.num_events, peaks, course.shift, course.places.tolist(), values


def only(path: Path) -> RecordedMemory:
    (found,) = parse_trace(path).memory
    return found


@given(INSTANTS, st.data())
def test_neither_order_nor_pieces_matter(
    rows: list[tuple[int, float, float]], data: st.DataObject
) -> None:
    whole = course_of(rows)
    mixed = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    first, second = course_of(mixed[:cut]), course_of(mixed[cut:])
    first.add(second)

    assert told(first) == told(whole)
    assert len(whole.places) <= MAX_POINTS
    assert (np.diff(whole.places) > 0).all()


@given(INSTANTS)
def test_the_course_has_the_peak_and_no_interval_above_its_instants(
    rows: list[tuple[int, float, float]],
) -> None:
    course = course_of(rows)

    assert np.array_equal(
        np.fmax.reduce(course.maxima, axis=0, initial=NAN), course.peaks, equal_nan=True
    )
    for place, maxima in zip(course.places.tolist(), course.maxima.tolist(), strict=True):
        within = [row[1:] for row in rows if row[0] >> course.shift == place]
        assert np.array_equal(np.fmax.reduce(within, axis=0), maxima, equal_nan=True)


def test_a_trace_says_what_its_instants_say(tmp_path: Path) -> None:
    events = starved_steps()
    instants = [memory(1010, 3000, 8000), memory(1020, 5000, 8000), memory(1030, 100, 6000)]

    found = only(write_trace(tmp_path / "t.json", [*events, *instants]))

    assert (found.device_type, found.device_id, found.num_events) == (1, 0, 3)
    assert (found.peak_allocated_bytes, found.peak_reserved_bytes) == (5000, 8000)
    assert found.interval_ns == 1
    assert found.course["time_ns"].tolist() == [10_000, 20_000, 30_000]
    assert found.course["allocated_bytes"].tolist() == [3000, 5000, 100]


def test_devices_are_told_apart(tmp_path: Path) -> None:
    instants = [
        memory(1010, 1, 2),
        memory(1010, 3, 4, device=1),
        memory(1010, 5, 0, kind=0, device=-1),
    ]

    found = parse_trace(write_trace(tmp_path / "t.json", [*starved_steps(), *instants])).memory

    assert [(each.device_type, each.device_id, each.peak_allocated_bytes) for each in found] == [
        (0, -1, 5), (1, 0, 1), (1, 1, 3),
    ]  # fmt: skip


def test_pieces_of_a_file_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instants = [memory(1000 + n, 100 * (n % 37), 5000 + n) for n in range(900)]
    path = write_trace(tmp_path / "t.json", [*starved_steps(), *instants])
    whole = only(path)

    monkeypatch.setattr(trace_parts, "PART_BYTES", 20_000)
    monkeypatch.setattr(trace_parts, "_WINDOWS_BYTES", (2000,))
    cut = only(path)

    assert whole.num_events == 900
    assert 100 < len(whole.course) <= MAX_POINTS
    assert (cut.num_events, cut.peak_allocated_bytes, cut.interval_ns) == (900, 3600, 4096)
    assert np.array_equal(cut.course, whole.course)


@pytest.mark.parametrize("bad", [-1, 1e300, 10**40, "NaN", "x", "", None, -(10**40), "-5", "inf"])
def test_a_total_that_is_none_is_unknown(tmp_path: Path, bad: object) -> None:
    instants = [memory(1010, bad, 700), memory(1020, 300, bad)]

    found = only(write_trace(tmp_path / "t.json", [*starved_steps(), *instants]))

    assert (found.peak_allocated_bytes, found.peak_reserved_bytes) == (300, 700)
    assert found.num_events == 2


def test_numbers_between_quotes_are_numbers(tmp_path: Path) -> None:
    instants = [memory(1010, "300", "700", kind="1", device="2")]
    found = only(write_trace(tmp_path / "t.json", [*starved_steps(), *instants]))
    assert (found.device_type, found.device_id) == (1, 2)
    assert (found.peak_allocated_bytes, found.peak_reserved_bytes) == (300, 700)


@pytest.mark.parametrize("kind", [None, "x", -1, 1.5, 1e9, 10**40, "nan"])
def test_a_device_of_no_type_is_left_out(tmp_path: Path, kind: object) -> None:
    events = [*starved_steps(), memory(1010, 1, 2, kind=kind)]
    assert parse_trace(write_trace(tmp_path / "t.json", events)).memory == ()


def test_bare_nan_in_a_file_hides_nothing_else(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t.json", [*starved_steps(), memory(1010, NAN, 700)])
    assert "NaN" in path.read_text()
    found = only(path)
    assert (found.peak_allocated_bytes, found.peak_reserved_bytes) == (None, 700)


@pytest.mark.parametrize("ts", [None, "x", 1e300, -1e300])
def test_an_instant_without_a_time_counts_for_the_peak_alone(tmp_path: Path, ts: object) -> None:
    late = {**memory(0, 900, 900), "ts": ts}
    events = [*starved_steps(), memory(1010, 100, 100), late]

    found = only(write_trace(tmp_path / "t.json", events))

    assert (found.num_events, found.peak_allocated_bytes) == (2, 900)
    assert found.course["allocated_bytes"].tolist() == [100]


def test_a_trace_of_instants_alone_has_peaks_and_no_course(tmp_path: Path) -> None:
    found = only(write_trace(tmp_path / "t.json", [memory(1e12, 900, 1000)]))
    assert (found.peak_allocated_bytes, found.peak_reserved_bytes) == (900, 1000)
    assert len(found.course) == 0


def test_complete_events_and_other_instants_of_that_name_are_none(tmp_path: Path) -> None:
    span = event("user_annotation", "[memory]", 1000, 5, **memory(0, 1, 2)["args"])
    other = {**memory(1010, 1, 2), "name": "Record Window End"}
    bare = {key: value for key, value in memory(1010, 1, 2).items() if key != "args"}
    path = write_trace(tmp_path / "t.json", [*starved_steps(), span, other, bare])
    assert parse_trace(path).memory == ()


def test_devices_without_end_are_bounded_and_said(tmp_path: Path) -> None:
    instants = [memory(1010, 1, 2, device=n) for n in range(MAX_DEVICES + 5)]
    trace = parse_trace(write_trace(tmp_path / "t.json", [*starved_steps(), *instants]))
    assert len(trace.memory) == MAX_DEVICES
    assert any("more than 64 devices" in note for note in trace.notes)


def test_a_trace_without_instants_says_nothing(tmp_path: Path) -> None:
    trace = parse_trace(write_trace(tmp_path / "t.json", starved_steps()))
    assert trace.memory == ()
    assert trace.notes == ()


def test_a_cut_file_tells_what_it_has(tmp_path: Path) -> None:
    events = [*starved_steps(), memory(1010, 300, 700), memory(1020, 900, 900)]
    text = write_trace(tmp_path / "t.json", events).read_text()
    path = write_text(tmp_path / "cut.json", text[: text.rindex('"Total Allocated"')])
    assert only(path).peak_allocated_bytes == 300


def test_what_pytorch_writes_of_a_cpu_is_of_a_cpu(tmp_path: Path) -> None:
    layer = torch.nn.Linear(64, 64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as tracer:
        layer(torch.randn(8, 64)).sum().backward()
    path = tmp_path / "t.json"
    tracer.export_chrome_trace(str(path))

    found = only(path)

    assert found.device_type == 0
    assert found.num_events == path.read_text().count('"name": "[memory]"') > 0
    assert (found.peak_allocated_bytes or 0) >= 8 * 64 * 4  # the input at least
