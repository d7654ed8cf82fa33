"""Fast stores that nobody would make: one line says what is wrong and what helps."""

import pytest

from vrtspike.data.atomic_files import read_manifest
from vrtspike.data.fast_store import main
from vrtspike.data.store_manifest import MANIFEST

NO_JSON = {"deep": "[" * 60_000, "huge": "[" * 200_000, "padded": "{}" + " " * (1 << 16)}


@pytest.mark.parametrize("name", [*NO_JSON, "text", "bytes"])
def test_a_manifest_that_is_no_json_is_one_line_with_a_cure(unified, tmp_path, name, capsys):
    out = tmp_path / "store"
    out.mkdir()
    others = {"text": b"{not json", "bytes": b"\xff\xfe\x00{"}
    (out / MANIFEST).write_bytes(others.get(name) or NO_JSON[name].encode())
    assert main(["--root", str(unified), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {out / MANIFEST}: damaged: ")
    assert said.endswith(f": delete the folder {out}, or choose another --out\n")
    assert said.count("\n") == 1


def test_of_a_manifest_without_end_little_is_read(tmp_path):
    path = tmp_path / MANIFEST
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="larger than 64 KiB"):
        read_manifest(path)
