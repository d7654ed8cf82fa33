"""Free memory goes back to the system before processes are forked."""

import sys

import psutil
import pytest
from torch.utils.data import DataLoader

from vrtspike.data import loader as module
from vrtspike.data.free_heap import give_back_free_heap
from vrtspike.data.loader import ClipLoader

MIB = 1 << 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_pages_that_nobody_uses_are_given_back():
    kept = [bytes(60_000) for _ in range(2000)]  # below what the C library maps apart
    last = bytes(60_000)
    full = psutil.Process().memory_info().rss
    del kept
    if not give_back_free_heap():
        pytest.skip("another C library")
    assert full - psutil.Process().memory_info().rss > 60 * MIB
    assert len(last) == 60_000


@pytest.mark.parametrize(
    ("workers", "persistent", "calls"), [(0, False, 0), (1, False, 2), (1, True, 1)]
)
def test_it_happens_when_processes_are_started_and_not_else(
    monkeypatch, workers, persistent, calls
):
    def begin(loader):
        if persistent:  # as PyTorch keeps its iterator then
            loader._iterator = object()
        return iter([])

    given = []
    monkeypatch.setattr(module, "give_back_free_heap", lambda: given.append(1))
    monkeypatch.setattr(DataLoader, "__iter__", begin)
    loader = ClipLoader([1], num_workers=workers, persistent_workers=persistent)
    for _ in range(2):
        assert list(loader) == []
    assert len(given) == calls
