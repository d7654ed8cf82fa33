"""Fast stores that nobody would make: one line says what is wrong and what helps."""

import zlib

import msgspec
import pytest

from tests.vrtspike.data.test_loader import loaders
from vrtspike.data.atomic_files import claim_folder, read_manifest
from vrtspike.data.fast_store import main
from vrtspike.data.settings import DataConfig
from vrtspike.data.store_file import _HEADER, _MAGIC, read_index
from vrtspike.data.store_manifest import MANIFEST
from vrtspike.errors import DataError

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


BAD_SPLITS = ["../tree/train", "..", "", ".", "./train", "train//a", "train/../../x", "train/"]


@pytest.mark.parametrize("split", [*BAD_SPLITS, "/absolute"])
def test_a_split_that_leads_out_of_the_store_writes_nothing(unified, tmp_path, split, capsys):
    split = str(unified / "train") if split == "/absolute" else split
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "store"
    assert main(["--root", str(unified), "--out", str(out), "--splits", "val", split]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --splits must name a folder in the data set")
    assert said.endswith(f", got {split!r}\n")
    assert sorted(tmp_path.rglob("*")) == before
    for name in ("train_split", "val_split"):
        with pytest.raises(ValueError, match=f"{name}: must name a folder in the data set"):
            DataConfig(root=str(unified), **{name: split})


@pytest.mark.parametrize("split", ["train", "train/deep", "..a", ".a", "a b"])
def test_other_names_of_splits_are_taken(split):
    assert DataConfig(root="", train_split=split, val_split=split).train_split == split


def reshaped(file, kind, shape) -> None:
    """Another shape for the first array of a kind; index and checksums are sound."""
    arrays = read_index(file)
    at = next(n for n, each in enumerate(arrays) if f"/{kind}/" in each.source)
    arrays[at] = msgspec.structs.replace(arrays[at], shape=shape)
    index, data = msgspec.json.encode(arrays), file.read_bytes()
    start = _HEADER.unpack_from(data)[1]
    head = _HEADER.pack(_MAGIC, start, len(index), zlib.crc32(index))
    file.write_bytes(head + data[len(head) : start] + index)


SHAPES = [
    *[(kind, shape) for kind in ("blur", "sharp") for shape in ((64, 64), (64,), (64, 64, 1))],
    *[("blur", shape) for shape in ((64, 64, 4), (64, 64, 3, 1), (3, 64, 64))],
    *[("spike", shape) for shape in ((2048,), (16, 32, 4))],
]


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_an_array_whose_shape_is_that_of_no_such_thing_is_damage(unified, tmp_path, kind, shape):
    out = tmp_path / "store"
    arguments = ["--root", str(unified), "--out", str(out)]
    assert main(arguments) == 0
    file = out / "train/a.frames"
    whole = file.read_bytes()
    reshaped(file, kind, shape)
    with pytest.raises(DataError) as caught:
        loaders(unified, fast_store=str(out))
    said = str(caught.value)
    assert said.startswith(f"{file}: damaged: train/a/{kind}/000000.")
    assert f"{'x'.join(str(side) for side in shape)} is no shape of" in said
    assert "; delete it and convert with: " in said
    assert "\n" not in said
    assert main(["--verify", "--out", str(out)]) == 1
    assert main(arguments) == 0
    assert file.read_bytes() == whole, "the next conversion makes it anew"


@pytest.mark.parametrize("is_claimed", [True, False])
def test_what_a_killed_claim_left_is_no_foreign_file(tmp_path, is_claimed):
    manifest = tmp_path / "out" / "it.json"
    words = {"other": "is of others", "foreign": "is not empty"}
    if is_claimed:
        claim_folder(manifest, {"a": 1}, **words)
    manifest.parent.mkdir(exist_ok=True)
    (manifest.parent / ".it.json.x7k2").write_text('{"a"')
    claim_folder(manifest, {"a": 1}, **words)
    assert [one.name for one in manifest.parent.iterdir()] == ["it.json"]
