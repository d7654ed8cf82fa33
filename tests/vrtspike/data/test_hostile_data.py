"""Data sets that nobody would make: every one ends in one line, or is trained on rightly."""

import os
import shutil

import numpy as np
import pytest

from tests.vrtspike.data.test_clips import config, train_set
from tests.vrtspike.data.test_loader import loaders
from vrtspike.data import layouts
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.damage import DAMAGE
from vrtspike.data.fast_store import main
from vrtspike.data.plan import measure_data
from vrtspike.data.spike_stream import MAX_TICKS, read_dat
from vrtspike.errors import DataError

SKIP = {"bad_samples": "skip", "max_bad_share": 0.5}


def refused(root, **given) -> str:
    with pytest.raises(DataError) as caught:
        loaders(root, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bomb(depth: str = "bcdefghi") -> str:
    """A few lines that spell lists of nine to the power of their number."""
    lines = ["a: &a [1, 1, 1]"]
    for before, name in zip("a" + depth, depth, strict=False):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize("key", ["spike_h: *i", "voxel_mode: *i", "light_domain: *i", "<<: *i"])
def test_a_few_lines_that_spell_a_billion_entries_are_refused(unified, key):
    (unified / "config.yaml").write_text(f"{bomb()}\nspike_h: 32\nspike_w: 32\n{key}\n")
    assert "aliases (*name) are not read here" in refused(unified)


def test_a_loop_of_links_in_place_of_a_picture_is_damage(unified):
    path = unified / "train/a/blur/000000.png"
    path.unlink()
    path.symlink_to(path)
    assert "Too many levels of symbolic links" in refused(unified)
    built = loaders(unified, **SKIP)
    built.start_epoch(0)
    assert {each.sample for batch in built.train for each in batch.get(DAMAGE, ())} == {0}


def test_a_forecast_begins_with_the_first_picture_that_can_be_read(unified):
    (unified / "train/a/blur/000000.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty \(0 bytes\)"):
        measure_data(config(unified))
    assert measure_data(config(unified, **SKIP)).height == 64


@pytest.mark.parametrize("kind", ["blur", "sharp"])
def test_a_clip_whose_link_leads_nowhere_is_not_left_out_in_silence(unified, tmp_path, kind):
    folder = unified / "train/a" / kind
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path / "unmounted")
    said = refused(unified)
    assert said.startswith(f"{folder}: cannot be looked at: No such file or directory")
    folder.unlink()
    folder.symlink_to(folder)
    assert "Too many levels" in refused(unified, **SKIP)
    folder.unlink()
    assert len(train_set(unified)) == 4, "a folder that is not there makes it no clip"


def test_what_nobody_may_look_at_is_one_line(unified, monkeypatch):
    real = layouts.Path.stat

    def stat(path, **given):
        if path.name == "blur" and path.parent.name == "a":
            raise PermissionError(13, "Permission denied")
        return real(path, **given)

    monkeypatch.setattr(layouts.Path, "stat", stat)
    assert "train/a/blur: cannot be looked at: Permission denied" in refused(unified)
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "this user may not enter it" in refused(unified)


NAMES = [b"a\nb c", b"\xff\xfe", "ü\u202e".encode(), b'{"x": %s {0}', b"a'b\"c"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_trained_on_and_converted(unified, tmp_path, name, capfdbinary):
    (unified / "train/a").rename(unified / "train" / os.fsdecode(name))
    plain = train_set(unified)
    assert main(["--root", str(unified), "--out", str(tmp_path / "store")]) == 0
    written = capfdbinary.readouterr()
    assert written.err == b""
    assert len(written.out.splitlines()) == 6, "a name breaks no line"
    fast = train_set(unified, fast_store=str(tmp_path / "store"))
    for number in range(len(plain)):
        assert plain[number]["meta"]["seq"] == fast[number]["meta"]["seq"]
        assert np.array_equal(plain[number]["blur"], fast[number]["blur"])
    assert main(["--verify", "--out", str(tmp_path / "store")]) == 0
    written.out.decode()


def test_a_spike_file_of_absurdly_many_ticks_is_refused_before_they_are_counted(tmp_path):
    path = tmp_path / "a.dat"
    path.write_bytes(bytes(8 * MAX_TICKS))
    assert read_dat(path, 8, 8).ticks == MAX_TICKS
    path.write_bytes(bytes(8 * MAX_TICKS + 8))
    with pytest.raises(DataError, match="65537 ticks of 8x8 spikes are more than one frame's"):
        read_dat(path, 8, 8)


def with_voxels(root) -> None:
    for clip in ("train/a", "train/deep/b", "val/c"):
        (root / clip / "spike_vox").mkdir()
        for frame in range(6):
            np.save(root / clip / "spike_vox" / f"{frame:06d}.npy", np.ones((4, 32, 32), "f2"))


def header(text: bytes) -> bytes:
    text = text.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


SHAPE = b"{'descr': '<f2', 'fortran_order': False, 'shape': (%s), }"
HEADERS = {
    "huge": SHAPE % b"4, 9999999999999, 99999999999",
    "wraps around": SHAPE % b"4, 4294967296, 4294967297",
    "negative": SHAPE % b"4, -32, 32",
    "deep": b"(" * 9000,
    "no header": b"\0" * 100,
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.filterwarnings("error")
def test_headers_of_voxels_that_claim_what_is_not_there(unified, name):
    with_voxels(unified)
    path = unified / "train/a/spike_vox/000002.npy"
    path.write_bytes(header(HEADERS[name]))
    dataset = train_set(unified, use_precomputed_voxels=True)
    with pytest.raises(DataError, match=r"000002\.npy: cannot read the voxels: .* bytes: put"):
        dataset[0]
    assert train_set(unified, use_precomputed_voxels=True, **SKIP)[0][DAMAGE]


@pytest.mark.parametrize("shape", [(30, 32), (16, 16), (64, 64), (0, 32)])
@pytest.mark.parametrize("cached", [False, True])
def test_voxels_of_another_size_are_never_cut(unified, shape, cached):
    """Larger ones once were, at a place that was not the picture's."""
    with_voxels(unified)
    np.save(unified / "train/a/spike_vox/000002.npy", np.zeros((4, *shape), "f2"))
    built = loaders(unified, use_precomputed_voxels=True, use_ram_cache=cached)
    dataset: SpikeDeblurDataset = built.train_set
    for _ in range(2):
        with pytest.raises(DataError, match=f"{shape[0]}x{shape[1]} voxels, but the clip's first"):
            dataset[0]


def test_first_voxels_without_a_row_are_one_line(unified):
    with_voxels(unified)
    np.save(unified / "train/a/spike_vox/000000.npy", np.zeros((4, 0, 32), "f2"))
    assert "the spikes are 0x32" in refused(unified, use_precomputed_voxels=True)
