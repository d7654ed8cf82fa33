"""A fast store of a data set with damaged files gives the samples and words of the files."""

import json
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
import torch

from tests.vrtspike.data.conftest import write_picture
from tests.vrtspike.data.test_clips import config, train_set
from tests.vrtspike.data.test_loader import loaders
from vrtspike.data import fast_store
from vrtspike.data.damage import DAMAGE
from vrtspike.data.fast_store import convert, main, verify
from vrtspike.data.store_file import SUFFIX, read_index
from vrtspike.errors import DataError

SKIP = {"bad_samples": "skip", "max_bad_share": 0.5}


@pytest.fixture
def damaged(unified):
    """Every kind of damage in the training clips, and one in validation."""
    for name in ("train/a/blur/000001.png", "val/c/sharp/000004.png"):
        path = unified / name
        path.write_bytes(path.read_bytes()[:-40])
    (unified / "train/a/sharp/000004.png").write_bytes(b"")
    (unified / "train/deep/b/blur/000000.png").write_bytes(b"no picture")
    spikes = unified / "train/deep/b/spike/000005.dat"
    spikes.write_bytes(spikes.read_bytes()[:-7])
    return unified


def converted(root, out, **given):
    said: list[str] = []
    convert(config(root, **{**SKIP, **given}), out, ("train", "val"), said.append)
    return said


def everything(root, **given):
    """All batches of an epoch and of the validation, whole."""
    built = loaders(root, **{**SKIP, "augment": True, **given})
    built.start_epoch(1)
    return [*built.train, *built.val]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_meets_the_same_damage_and_the_same_samples(damaged, tmp_path, workers):
    converted(damaged, tmp_path / "store")
    plain = everything(damaged)
    fast = everything(damaged, workers=workers, fast_store=str(tmp_path / "store"))
    assert [batch.get(DAMAGE) for batch in plain] == [batch.get(DAMAGE) for batch in fast]
    assert sum(len(batch.get(DAMAGE, ())) for batch in plain) >= 7
    for one, other in zip(plain, fast, strict=True):
        assert set(one) == set(other)
        for key in one:
            if isinstance(one[key], torch.Tensor):
                assert torch.equal(one[key], other[key])


def test_each_file_is_named_and_counted(damaged, tmp_path, capsys):
    out = tmp_path / "store"
    said = converted(damaged, out)
    kept = [line for line in said if line.startswith("kept out: ")]
    assert len(kept) == 5
    assert all(str(damaged) in line for line in kept)
    assert said[-1].startswith("5 of 54 files are damaged and were kept out: train with DATA.")
    assert verify(out, print)
    told = capsys.readouterr().out
    assert told.count("kept out, since the data set's own file is damaged: train/") == 4
    dataset = train_set(damaged, fast_store=str(out), **SKIP)
    (line,) = [each for each in dataset.summary() if "FAST_STORE" in each]
    assert "4 damaged files are kept out, first: " in line


def test_a_run_that_stops_at_damage_is_told_before_it_begins(damaged, tmp_path):
    out = tmp_path / "store"
    converted(damaged, out)
    shutil.copy(damaged / "train/deep/b/blur/000001.png", damaged / "train/deep/b/blur/000000.png")
    converted(damaged, out)
    with pytest.raises(DataError, match=r"3 such files are kept out of DATA\.FAST_STORE") as caught:
        train_set(damaged, fast_store=str(out))
    assert str(caught.value).startswith(f"{damaged}/train/a/blur/000001.png: ")
    assert "DATA.BAD_SAMPLES=skip goes on" in str(caught.value)


def test_damage_that_no_sample_needs_stops_nothing(unified, tmp_path):
    """The clip is too short for a window."""
    for number in range(2, 6):
        (unified / f"train/a/sharp/{number:06d}.png").unlink()
    (unified / "train/a/sharp/000000.png").write_bytes(b"")
    converted(unified, tmp_path / "store")
    assert len(train_set(unified, fast_store=str(tmp_path / "store"))) == 4


def test_a_conversion_that_stops_at_damage_says_how_to_go_on(damaged, tmp_path, capsys):
    out = tmp_path / "store"
    given = ["--root", str(damaged), "--out", str(out)]
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "train/a/blur/000001.png: the picture is cut short" in line
    assert "--bad-samples skip keeps such files out" in line
    assert main([*given, "--bad-samples", "skip"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "file 1 of 54 that is damaged, more than --max-bad-share 0.01 allows" in line
    assert list(out.rglob(f"*{SUFFIX}")) == []
    assert main([*given, "--bad-samples", "skip", "--max-bad-share", "0.1"]) == 0
    assert main([*given, "--bad-samples", "skip", "--max-bad-share", "0.05"]) == 2
    assert "file 3 of 54" in capsys.readouterr().err, "what earlier conversions kept out counts"
    with pytest.raises(SystemExit):
        main([*given, "--max-bad-share", "nan"])


def test_a_second_conversion_looks_again_at_what_was_kept_out(damaged, tmp_path):
    out = tmp_path / "store"
    converted(damaged, out)
    said = converted(damaged, out)
    assert said[-2:] == [
        "3 of 3 clips are there already",
        "5 of 54 files are damaged and were kept out: train with DATA.BAD_SAMPLES=skip, or "
        "replace them and convert again",
    ]
    path = damaged / "train/a/sharp/000004.png"
    shutil.copy(damaged / "train/a/sharp/000003.png", path)
    with pytest.raises(DataError, match=r"000004\.png changed since its conversion"):
        train_set(damaged, fast_store=str(out), **SKIP)
    assert "2 of 3 clips are there already" in converted(damaged, out)
    assert sum(bool(each.fault) for each in read_index(out / "train/a.frames")) == 1
    with pytest.raises(DataError, match="--bad-samples skip keeps"):
        converted(damaged, out, bad_samples="stop")


def test_a_file_that_may_be_read_again_is_read_without_a_change_to_it(
    unified, tmp_path, monkeypatch
):
    """Permissions and disks come back; neither leaves a trace at the file."""
    out, real, refused = (
        tmp_path / "store",
        fast_store.read_rgb,
        unified / "train/a/blur/000002.png",
    )

    def read(path):
        if path == refused:
            raise DataError(f"{path}: cannot read the picture: Permission denied")
        return real(path)

    monkeypatch.setattr(fast_store, "read_rgb", read)
    assert "kept out: " in "".join(converted(unified, out))
    monkeypatch.undo()
    said = converted(unified, out)
    assert "2 of 3 clips are there already" in said
    assert "kept out" not in "".join(said)
    assert not any(each.fault for each in read_index(out / "train/a.frames"))


def test_a_link_that_leads_nowhere_is_damage_like_any_other(unified, tmp_path):
    path = unified / "train/a/blur/000003.png"
    path.unlink()
    path.symlink_to(tmp_path / "nowhere.png")
    converted(unified, tmp_path / "store")
    plain, fast = everything(unified), everything(unified, fast_store=str(tmp_path / "store"))
    assert [batch.get(DAMAGE) for batch in plain] == [batch.get(DAMAGE) for batch in fast]
    assert any(DAMAGE in batch for batch in plain)


def test_stores_of_before_know_of_no_faults(unified, tmp_path):
    """An index without the column is read as ever."""
    out = tmp_path / "store"
    converted(unified, out)
    file = out / "train/a.frames"
    whole = file.read_bytes()
    _, start, length, _ = struct.unpack_from("<8sQQI", whole)
    rows = [row[:6] for row in json.loads(whole[start : start + length])]
    index = json.dumps(rows).encode()
    head = struct.pack("<8sQQI", b"vrtspk\x00\x01", start, len(index), zlib.crc32(index))
    file.write_bytes(head + whole[len(head) : start] + index)
    assert [each.fault for each in read_index(file)] == [""] * 18
    dataset, plain = train_set(unified), train_set(unified)
    dataset.use_store(out)
    assert torch.equal(dataset[0]["blur"], plain[0]["blur"])


def test_pictures_of_another_size_are_refused_as_without_the_store(unified, tmp_path):
    write_picture(unified / "train/a/blur/000002.png", np.zeros((62, 64, 3), np.uint8))
    converted(unified, tmp_path / "store")
    plain, fast = train_set(unified, **SKIP), train_set(unified, **SKIP)
    fast.use_store(tmp_path / "store")
    assert plain[1][DAMAGE] == fast[1][DAMAGE]
    assert "62x64 pixels" in plain[1][DAMAGE].reason


def test_where_a_store_may_not_lie(unified, tmp_path, capsys):
    link = tmp_path / "link"
    link.symlink_to(unified)
    moved = tmp_path / "elsewhere/clip"
    moved.parent.mkdir()
    (unified / "train/a").rename(moved)
    (unified / "train/a").symlink_to(moved)
    before = sorted(tmp_path.rglob("*"))
    for out in (unified, unified / "store", unified / "train/a/x", link / "y", moved / "z"):
        assert main(["--root", str(unified), "--out", str(out)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--out {out} lies inside" in line
    assert main(["--root", str(unified), "--out", str(tmp_path)]) == 2
    assert "holds" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_no_store_is_told_so(unified, tmp_path):
    def said(folder):
        with pytest.raises(DataError) as caught:
            train_set(unified, fast_store=str(folder))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    command = "python -m vrtspike.data.fast_store"
    cure = f"make one with: {command} --root {unified} --out {unified}_fast_store"
    assert f"DATA.FAST_STORE {unified} is no fast store: it has no fast_store.json" in said(unified)
    assert cure in said(unified)
    store = tmp_path / "store"
    converted(unified, store)
    manifest = store / "fast_store.json"
    for text, expected in (
        (
            '{"format": "vrtspike fast store", "version": 0}',
            "is a store of version 0, this program",
        ),
        ('{"format": "other"}', "says something else"),
        ("{", "is no JSON"),
        ("[" * 60_000, "is no JSON"),
        ("[]", "says something else"),
    ):
        manifest.write_text(text)
        assert expected in said(store)
        assert cure in said(store)


def test_a_store_of_other_data_is_told_from_one_that_did_not_end(unified, tmp_path):
    store, other = tmp_path / "store", tmp_path / "other"
    converted(unified, store)
    shutil.copytree(unified, other)
    changed = other / "train/a/blur/000000.png"
    os.utime(changed, ns=(1, 1))
    with pytest.raises(DataError, match="or the fast store was made of another data set") as caught:
        train_set(other, fast_store=str(store))
    assert "the file was written at another time" in str(caught.value)
    changed.write_bytes(changed.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"the file has \d+ bytes, then \d+"):
        train_set(other, fast_store=str(store))
    (store / "train/deep/b.frames").unlink()
    (store / "train/deep/b.frames").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"b\.frames: cannot be read: No such file"):
        train_set(unified, fast_store=str(store))
    shutil.rmtree(store / "train")
    with pytest.raises(DataError, match="lacks 2 of 2 clips, first this one: its conversion did"):
        train_set(unified, fast_store=str(store))


def test_what_the_store_lacks_is_said_with_its_cure(unified, tmp_path):
    store = tmp_path / "store"
    converted(unified, store)
    with pytest.raises(
        DataError, match=r"DATA\.FAST_STORE .* is no folder: convert with: python -m"
    ):
        train_set(unified).use_store(tmp_path / "nowhere")
    (store / "train/a.frames").unlink()
    with pytest.raises(DataError, match="the fast store lacks 1 of 2 clips, first this one"):
        train_set(unified).use_store(store)


def test_a_pipe_among_the_spikes_is_not_waited_for(unified, tmp_path):
    path = unified / "train/a/spike/000002.dat"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"000002\.dat: cannot read the spike file: it is a pipe"):
        converted(unified, tmp_path / "store", bad_samples="stop")
    with pytest.raises(DataError, match="it is a pipe"):
        loaders(unified)
    converted(unified, tmp_path / "store")
    plain, fast = everything(unified), everything(unified, fast_store=str(tmp_path / "store"))
    assert [batch.get(DAMAGE) for batch in plain] == [batch.get(DAMAGE) for batch in fast]
