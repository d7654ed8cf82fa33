"""Snapshots of a device's allocator, which is a stand-in here: bounded, whole or absent."""

import pickle

import pytest
import torch

from vrtspike.profiling import memory_snapshot
from vrtspike.profiling.memory_snapshot import MAX_SNAPSHOTS, MemorySnapshots, write_bounded

CUDA = torch.device("cuda:0")


class FakeAllocator:
    """Remembers what it was asked; holds a history of `entries`."""

    def __init__(self, entries=10, error=None):
        self.asked, self.entries, self.error = [], entries, error

    def _record_memory_history(self, enabled, **options):
        if self.error is not None:
            raise self.error
        self.asked.append((enabled, options))

    def _snapshot(self, device=None):
        self.asked.append(("snapshot", device))
        history = [{"action": "alloc", "addr": n, "frames": []} for n in range(self.entries)]
        return {"segments": [{"address": 1, "total_size": 2}], "device_traces": [history, []]}


def snapshots(tmp_path, allocator, entries=1000, device=CUDA):
    made = MemorySnapshots(tmp_path / "memory", 3, device, entries, allocator)
    made.start()
    return made


def test_history_is_of_python_frames_and_bounded_and_ends_with_the_run(tmp_path):
    allocator = FakeAllocator()
    made = snapshots(tmp_path, allocator)
    taken = made.take("out_of_memory", 1_700_000_000.9)
    made.close()
    assert allocator.asked == [
        ("all", {"stacks": "python", "max_entries": 1000}),
        ("snapshot", CUDA),
        (None, {}),
    ]
    assert taken.path == tmp_path / "memory" / "1700000000_out_of_memory.rank3.pickle"
    data = taken.path.read_bytes()
    assert data[:2] == b"\x80\x04"
    found = pickle.loads(data)
    assert len(found["device_traces"][0]) == 10
    assert list((tmp_path / "memory").iterdir()) == [taken.path]


@pytest.mark.parametrize(
    ("device", "entries", "words"),
    [
        (torch.device("cpu"), 1000, "no device allocator on the CPU"),
        (CUDA, 0, "PROFILING.MEMORY_HISTORY is 0"),
    ],
)
def test_where_there_is_nothing_to_ask_it_says_so(tmp_path, device, entries, words):
    allocator = FakeAllocator()
    taken = snapshots(tmp_path, allocator, entries, device).take("request", 0)
    assert words in taken.problem
    assert taken.path is None
    assert allocator.asked == []


@pytest.mark.parametrize("error", [RuntimeError("no"), TypeError("stacks"), AttributeError("gone")])
def test_an_allocator_that_refuses_costs_the_snapshot_only(tmp_path, error):
    made = snapshots(tmp_path, FakeAllocator(error=error))
    assert str(error) in made.take("request", 0).problem
    made.close()


def test_the_older_history_goes_until_the_file_fits(tmp_path):
    content = FakeAllocator(4096)._snapshot()
    whole = len(pickle.dumps(content, 4))
    path = tmp_path / "s.pickle"
    assert write_bounded(path, content, whole // 3) is None
    found = pickle.loads(path.read_bytes())
    assert path.stat().st_size <= whole // 3
    assert found["segments"] == content["segments"]
    addresses = [entry["addr"] for entry in found["device_traces"][0]]
    assert addresses == list(range(4096 - len(addresses), 4096))
    assert len(addresses) == 1024


def test_what_never_fits_or_cannot_be_written_leaves_no_file(tmp_path):
    content = {"segments": ["x" * 10_000], "device_traces": [[1, 2, 3]]}
    assert "larger than" in write_bounded(tmp_path / "s.pickle", content, 5_000)
    (tmp_path / "full.pickle").mkdir()
    assert "no memory snapshot" in write_bounded(tmp_path / "full.pickle", content, 1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["full.pickle"]


def test_there_are_few(tmp_path, monkeypatch):
    made = snapshots(tmp_path, FakeAllocator())
    taken = [made.take("request", n) for n in range(MAX_SNAPSHOTS + 1)]
    assert [each.path is not None for each in taken] == [True] * MAX_SNAPSHOTS + [False]
    monkeypatch.setattr(memory_snapshot, "MAX_BYTES", 10)
    assert snapshots(tmp_path, FakeAllocator(0)).take("small", 0).path is None
