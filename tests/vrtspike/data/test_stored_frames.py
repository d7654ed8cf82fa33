"""What becomes of a store's file while a run reads it."""

import os

import numpy as np
import pytest

from vrtspike.data.loading_faults import LoadingFaultError
from vrtspike.data.store_file import ClipFileWriter, FileState, read_index
from vrtspike.data.stored_frames import StoredFrames, _identity, _Place


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "0.png"
    path.write_bytes(b"picture")
    return path


@pytest.fixture
def stored(tmp_path, source):
    file = tmp_path / "a.frames"
    with ClipFileWriter(file) as writer:
        writer.add(FileState.of(source, tmp_path), np.full((40, 50, 3), 7, np.uint8))
    (array,) = read_index(file)
    return StoredFrames({source: _Place(file, _identity(file), array)}, tmp_path)


def test_a_file_that_is_cut_short_during_the_run_is_named_before_it_is_touched(
    stored, source, tmp_path
):
    """Reading it would end the process with a bus error."""
    assert np.all(stored.view(source) == 7)
    os.truncate(tmp_path / "a.frames", 4096)
    with pytest.raises(LoadingFaultError, match=r"a\.frames: was cut short during the run"):
        stored.view(source)


def test_a_file_that_grows_is_read_on(stored, source, tmp_path):
    stored.view(source)
    with (tmp_path / "a.frames").open("ab") as file:
        file.write(b"more")
    assert np.all(stored.view(source) == 7)
