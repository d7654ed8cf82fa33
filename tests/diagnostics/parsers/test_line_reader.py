"""Lines of hostile files."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers import line_reader
from diagnostics.parsers.line_reader import LineReader


def read(path, data, limit=100):
    path.write_bytes(data)
    reader = LineReader(path, limit)
    return list(reader), reader


def test_all_line_ends_are_one(tmp_path):
    lines, reader = read(tmp_path / "a", b"one\ntwo\r\nthree\rfour\n")
    assert lines == [b"one", b"two", b"three", b"four"]
    assert reader.line_number == 4
    assert reader.notes() == ()


def test_last_line_without_end_is_left_out_and_said(tmp_path):
    lines, reader = read(tmp_path / "a", b"one\ntw")
    assert lines == [b"one"]
    assert "may be cut" in reader.notes()[0]


def test_long_line_is_left_out_and_counted(tmp_path):
    lines, reader = read(tmp_path / "a", b"one\n" + b"x" * 101 + b"\n" + b"y" * 100 + b"\n")
    assert lines == [b"one", b"y" * 100]
    assert reader.notes() == ("1 line was left out: longer than 100 bytes",)


def test_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(DiagnosticsError, match=r"cannot read .*gone"):
        list(LineReader(tmp_path / "gone", 100))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60), chunk=st.integers(1, 7), limit=st.integers(1, 9))
def test_chunks_do_not_matter(tmp_path_factory, data, chunk, limit):
    path = tmp_path_factory.mktemp("lines") / "a"
    whole, reader = read(path, data, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_reader, "_CHUNK_BYTES", chunk)
        pieces, other = read(path, data, limit)
    assert pieces == whole
    assert (other.line_number, other.notes()) == (reader.line_number, reader.notes())
    complete = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")[:-1]
    assert whole == [line for line in complete if len(line) <= limit]


def test_blocks_keep_a_line_of_the_largest_length_and_the_place_of_a_longer_one(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"y" * 100 + b"\n" + b"x" * 101 + b"\nlast\n")
    reader = LineReader(path, 100)
    assert [line for block in reader.blocks(bytes) for line in block] == [b"y" * 100, b"", b"last"]
    assert (reader.line_number, reader.num_too_long) == (3, 1)
