"""Pickles that ask for more than plain data, or for too much of it, are refused and do nothing."""

import contextlib
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers import pickle_machine, safe_pickle
from diagnostics.parsers.safe_pickle import UnsafePickleError, is_pickle, read_plain_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


@pytest.fixture
def read(tmp_path: Path):
    def make(data: bytes) -> Any:
        path = tmp_path / "snapshot.pickle"
        path.write_bytes(data)
        return read_plain_pickle(path)

    return make


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**100), 2**100)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner, inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=5)
    ),
    max_leaves=30,
)


@settings(max_examples=50)
@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
def test_plain_data_is_read_as_pickle_reads_it(
    tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int
) -> None:
    path = tmp_path_factory.mktemp("p") / "a.pickle"
    path.write_bytes(pickle.dumps(value, protocol))
    found = read_plain_pickle(path)
    assert found == value
    assert repr(found) == repr(value)


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (exec, (f"open({str(self.path)!r}, 'w').write('ran')",))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_that_runs_code_runs_none(read, tmp_path: Path, protocol: int) -> None:
    ran = tmp_path / "ran"
    attack = pickle.dumps({"segments": [], "extra": Runs(ran)}, protocol)
    with pytest.raises(UnsafePickleError, match=r"refused: it asks for more than plain data"):
        read(attack)
    assert not ran.exists()
    pickle.loads(attack)  # the attack is a real one
    assert ran.read_text() == "ran"


@pytest.mark.parametrize(
    "value",
    [np.zeros(3), datetime(2026, 1, 2, tzinfo=UTC), {1, 2}, bytearray(b"x"), OrderedDict(a=1), len],
    ids=["array", "datetime", "set", "bytearray", "ordered dict", "function"],
)
def test_whatever_needs_a_name_is_refused(read, value: object) -> None:
    with pytest.raises(UnsafePickleError, match="opcode"):
        read(pickle.dumps({"segments": value}, 5))


OPCODES = {
    "GLOBAL": b"cos\nsystem\n(S'true'\ntR.",
    "INST": b"(S'true'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'true'\no.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "PERSID": b"Pname\n.",
    "BINPERSID": b"\x80\x02K\x01Q.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "BUILD": b"\x80\x02}}b.",
    "NEWOBJ": b"\x80\x02})\x81.",
    "BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", 1 << 50) + b"x.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("name", OPCODES)
def test_each_opcode_that_reaches_out_is_refused_by_name(read, name: str) -> None:
    with pytest.raises(UnsafePickleError) as caught:
        read(OPCODES[name])
    assert "opcode " in str(caught.value)
    assert "\n" not in str(caught.value)
    if name not in ("INST", "OBJ"):
        assert name in str(caught.value)


def test_lengths_beyond_the_file_take_no_memory(read) -> None:
    for lie in (
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60),
        b"\x80\x04X" + struct.pack("<I", (1 << 32) - 1),
        b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1),
        b"\x80\x02\x8b" + struct.pack("<i", -5),
    ):
        with pytest.raises(DiagnosticsError, match=r"damaged|refused"):
            read(lie + b"abc.")


def test_numbers_of_a_million_digits_are_refused(read) -> None:
    with pytest.raises(DiagnosticsError):
        read(b"I" + b"9" * 10**6 + b"\n.")
    with pytest.raises(DiagnosticsError, match="a number of"):
        read(pickle.dumps(1 << 10**6, 2))


def test_a_key_that_must_be_hashed_in_depth_is_refused(read) -> None:
    """A tuple of itself twice, fifty times over: hashing it would take for ever."""
    bomb = b"\x80\x02)" + b"q\x00h\x00\x86" * 50
    with pytest.raises(UnsafePickleError, match="neither a text nor a number"):
        read(b"\x80\x02}" + bomb[2:] + b"K\x01s.")


def test_depth_and_number_are_bounded(read, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsafePickleError, match="nests deeper"):
        read(b"\x80\x02" + b"(" * 100_000 + b".")
    monkeypatch.setattr(pickle_machine, "MAX_CONTAINERS", 10)
    with pytest.raises(UnsafePickleError, match="more than 10 lists"):
        read(pickle.dumps([[] for _ in range(20)]))
    monkeypatch.setattr(pickle_machine, "MAX_OPCODES", 1000)
    with pytest.raises(UnsafePickleError, match="1000 instructions"):
        read(b"\x80\x02" + b"N0" * 10_000 + b"N.")
    monkeypatch.setattr(safe_pickle, "MAX_BYTES", 100)
    with pytest.raises(UnsafePickleError, match="snapshots up to 0 MiB"):
        read(b"\x80\x02" + b"N" * 200)


def test_nesting_without_marks_ends_no_process(tmp_path: Path) -> None:
    """A list in a list, 300,000 deep: read and let go of in a process of its own."""
    path = tmp_path / "deep.pickle"
    path.write_bytes(b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".")
    code = "import sys; from pathlib import Path; from diagnostics.errors import DiagnosticsError\n"
    code += "from diagnostics.parsers.snapshot_file import read_snapshot\n"
    code += "try: read_snapshot(Path(sys.argv[1]))\nexcept DiagnosticsError: pass"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]


@given(data=st.binary(max_size=200))
def test_no_bytes_bring_it_down(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("p") / "a.pickle"
    path.write_bytes(b"\x80\x04" + data)
    with contextlib.suppress(DiagnosticsError):
        read_plain_pickle(path)


def test_half_a_character_spelled_out_is_text_that_can_be_written(read) -> None:
    (text,) = read(b"(V\\ud800x\nl.")
    assert text.encode() == b"?x"


def test_a_cut_file_is_damaged_and_says_where(read) -> None:
    whole = pickle.dumps({"segments": [{"device": 0}] * 5}, 4)
    for length in range(2, len(whole) - 1, 7):
        with pytest.raises(DiagnosticsError, match="damaged at byte"):
            read(whole[:length])
    with pytest.raises(DiagnosticsError, match="is empty"):
        read(b"")


def test_pickles_are_known_by_their_first_bytes() -> None:
    assert is_pickle(pickle.dumps([1], 4))
    assert is_pickle(pickle.dumps([1], 2))
    assert not is_pickle(b"\x80\x99x")
    assert not is_pickle(b"[run] id=1")
