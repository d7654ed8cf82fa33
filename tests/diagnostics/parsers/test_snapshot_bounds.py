"""Snapshots that cost more than they hold, packed ones, and those of which nothing can be read."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import pytest

from diagnostics.errors import DiagnosticsError
from diagnostics.memory_snapshot import MemorySnapshot
from diagnostics.parsers import snapshot_file
from diagnostics.parsers.detect import detect
from diagnostics.parsers.safe_pickle import UnsafePickleError
from diagnostics.parsers.snapshot_file import read_snapshot
from diagnostics.snapshot_inputs import SnapshotInputs
from tests.diagnostics.snapshot_factory import MIB, Allocator, frames

LOSS = frames(("/code/train.py", 12, "step"))
DEEP = b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b"."


@pytest.fixture
def read(tmp_path: Path):
    def make(value: Any) -> MemorySnapshot:
        path = tmp_path / "s.pickle"
        path.write_bytes(pickle.dumps(value, 4))
        return read_snapshot(path)

    return make


def test_one_list_held_thousands_of_times_is_read_once(read) -> None:
    """A list, a dict and a list of lists: whatever is met again costs nothing."""
    entry = {"action": "oom", "size": 5, "time_us": 1, "device_free": 1}
    block = {"size": 512, "state": "active_allocated"}
    segment = {"device": 0, "total_size": 512, "blocks": [block] * 5000}
    trace = [entry] * 5000
    found = read({"segments": [segment] * 5000, "device_traces": [trace] * 250})
    assert (len(found.segments), len(found.blocks), len(found.history)) == (1, 1, 1)
    (note,) = found.notes
    assert note.startswith(f"{4999 * 3 + 249} references to what it already holds")


def test_equal_entries_of_their_own_are_all_read(read) -> None:
    value = {
        "segments": [],
        "device_traces": [[{"action": "alloc", "size": 8} for _ in range(30)], [], []],
    }
    found = read(value)
    assert len(found.history) == 30
    assert found.notes == ()


def test_what_lacks_the_keys_of_every_entry_is_no_row(read) -> None:
    whole = {"device": 0, "total_size": 1, "blocks": [{}, {"size": 1}]}
    found = read({"segments": [{}, whole], "device_traces": [[{}, {"action": "oom"}]]})
    assert (len(found.segments), len(found.blocks), len(found.history)) == (1, 1, 1)
    assert found.notes == ("3 entries do not look like PyTorch's and were left out",)


def test_the_newest_entries_of_too_long_a_history_are_read(read, monkeypatch) -> None:
    monkeypatch.setattr(snapshot_file, "MAX_ROWS", 10)
    traces = [[{"action": "alloc", "size": n} for n in range(count)] for count in (12, 5)]
    with pytest.raises(DiagnosticsError, match="more than 10 segments"):
        read({"segments": [{"blocks": []} for _ in range(11)]})
    found = read({"segments": [], "device_traces": traces[:1]})
    assert found.history["size_bytes"].tolist() == [*range(2, 12)]
    assert found.notes == ("device 0: the older 2 entries of its history were left out",)


def test_segments_of_too_many_devices_are_refused(read) -> None:
    segments = [{"device": n, "blocks": []} for n in range(300)]
    with pytest.raises(DiagnosticsError, match="names 300 devices"):
        read({"segments": segments})


def test_memory_that_runs_out_all_the_time_is_told_a_hundred_times(read) -> None:
    trace = [{"action": "oom", "size": n, "device_free": 1} for n in range(1000)]
    path = read({"segments": [], "device_traces": [trace]}).path
    (view,) = SnapshotInputs.of([path]).views()
    (device,) = view.devices
    assert [each.requested_bytes for each in device.refusals] == [*range(100)]
    assert device.num_entries == 1000


def test_each_device_is_analysed_by_itself(read) -> None:
    allocator = Allocator()
    allocator.alloc(3 * MIB, LOSS)
    value = allocator.snapshot()
    other = [{**segment, "device": 1} for segment in value["segments"]]
    value["segments"] += [*other, {**other[0], "blocks": [dict(other[0]["blocks"][0])]}]
    path = read({**value, "device_traces": [allocator.trace, []]}).path
    (view,) = SnapshotInputs.of([path]).views()
    assert [each.device for each in view.devices] == [0, 1]
    assert view.devices[0].held_bytes == 3 * MIB
    assert view.devices[0].places[0].name == "code/train.py:12 step"
    assert view.devices[1].num_entries == 0
    assert view.devices[1].waste.num_segments == view.devices[0].waste.num_segments + 1


@pytest.mark.parametrize(
    "content",
    [
        DEEP,
        b"\x80\x02}X\x08\0\0\0segments" + DEEP[2:-1] + b"s.",
        pickle.dumps([1, 2, 3]),
        pickle.dumps({"segments": ["x"], "device_traces": [[{}]]}),
    ],
    ids=["deep list", "deep segments", "numbers", "texts"],
)
def test_of_what_nothing_can_be_read_is_no_snapshot(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.pickle"
    path.write_bytes(content)
    with pytest.raises(DiagnosticsError, match="nothing in it looks like PyTorch's") as caught:
        read_snapshot(path)
    assert "\n" not in str(caught.value)


def test_a_snapshot_of_nothing_is_a_snapshot(read) -> None:
    assert len(read({"segments": [], "device_traces": [[]]}).history) == 0


def test_numbers_that_look_alike_to_a_dict_are_no_keys(read) -> None:
    with pytest.raises(UnsafePickleError, match="more than 60 bits"):
        read({"segments": [], "x": dict.fromkeys(range(1 << 61, (1 << 61) + 5))})


@pytest.mark.parametrize("name", ["s.pickle.gz", "s.gz", "s"])
def test_a_packed_snapshot_is_the_same_snapshot(tmp_path: Path, name: str) -> None:
    allocator = Allocator()
    for _ in range(300):
        allocator.alloc(5 * MIB, LOSS)
    plain, packed = tmp_path / "s.pickle", tmp_path / name
    plain.write_bytes(pickle.dumps(allocator.snapshot(), 4))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert detect(packed) == detect(plain) == "memory snapshot"
    one, other = read_snapshot(plain), read_snapshot(packed)
    assert one.history.equals(other.history)
    assert one.blocks.equals(other.blocks)
    assert one.stacks == other.stacks


def test_a_file_that_unpacks_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pickle.gz"
    path.write_bytes(gzip.compress(b"\x80\x02(" + b"N" * (40 << 20) + b"l."))
    assert path.stat().st_size < 100_000
    with pytest.raises(DiagnosticsError, match="KiB unpack to more than 16 MiB") as caught:
        read_snapshot(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [2, 12, 60, -9, -1])
def test_a_packed_snapshot_that_is_cut_says_so(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "s.pickle.gz"
    path.write_bytes(gzip.compress(pickle.dumps({"segments": [*range(5000)]}, 4))[:kept])
    with pytest.raises(DiagnosticsError, match="cannot be unpacked: damaged or cut short after"):
        read_snapshot(path)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(DiagnosticsError, match="is empty"):
        read_snapshot(path)


def test_other_packed_files_are_still_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(b'{"traceEvents": []}'))
    assert detect(path) == "trace"
    path.write_bytes(gzip.compress(b"words"))
    assert detect(path) == "unknown"
