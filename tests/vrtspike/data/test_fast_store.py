"""The fast store: the same samples to the last bit, whole or absent, and never out of date."""

import json
import os
import random
import select
import shutil
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vrtspike.data.conftest import write_picture
from tests.vrtspike.data.test_clips import config, train_set
from vrtspike.data import fast_store, lean, sources
from vrtspike.data.clips import SpikeDeblurDataset
from vrtspike.data.fast_store import convert, main, verify
from vrtspike.data.loader import LoaderJob, build_loaders
from vrtspike.data.loading_faults import LoadingFaultError
from vrtspike.data.settings import DataLoaderConfig
from vrtspike.data.store_file import SUFFIX, ClipFileWriter, FileState, read_index
from vrtspike.data.store_manifest import MANIFEST
from vrtspike.errors import DataError

CPU = torch.device("cpu")
SPLITS = ("train", "val")


def converted(root: Path, out: Path, **given) -> list[str]:
    said: list[str] = []
    convert(config(root), out, SPLITS, said.append, **given)
    return said


def files_of(out: Path) -> dict[str, bytes]:
    found = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


@pytest.fixture
def store(unified, tmp_path):
    out = tmp_path / "store"
    converted(unified, out)
    return out


def finished(dataset: SpikeDeblurDataset, batch: int = 1) -> list[tuple[torch.Tensor, ...]]:
    """The samples as the model gets them."""
    return [
        lean.on_device(lean.collate([dataset[first + n] for n in range(batch)]), CPU)
        for first in range(0, len(dataset) - batch + 1, batch)
    ]


def assert_same(expected, found) -> None:
    for sample, other in zip(expected, found, strict=True):
        for one, another in zip(sample, other, strict=True):
            assert one.dtype == another.dtype == torch.float32
            assert torch.equal(one, another)


@pytest.mark.parametrize("mode", ["flat", "documented"])
@pytest.mark.parametrize("is_lean", [False, True])
def test_samples_are_those_of_the_files_to_the_last_bit(unified, store, mode, is_lean):
    expected = finished(train_set(unified, augment=True, voxel_mode=mode), batch=2)
    fast = train_set(unified, augment=True, voxel_mode=mode)
    fast.use_store(store)
    if is_lean:
        fast.hand_over_bytes()
    shutil.rmtree(unified)
    assert_same(expected, finished(fast, batch=2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cached", [False, True])
def test_loaders_read_the_store_in_every_process(unified, store, workers, cached):
    def batches(**given):
        data = config(unified, use_ram_cache=cached, cache_size_gb=0.01, **given)
        loading = DataLoaderConfig(total_workers=workers)
        built = build_loaders(data, loading, LoaderJob(batch_size=2, seed=3))
        made = [
            lean.on_device(batch, CPU) for loader in (built.train, built.val) for batch in loader
        ]
        return made, built

    expected, _ = batches()
    made, built = batches(fast_store=str(store))
    assert_same(expected, made)
    assert built.train_set.cache_stats() is None
    assert sum("FAST_STORE" in note and "GiB" in note for note in built.notes) == 2
    assert any("nothing is kept in it" in note for note in built.notes) == cached


def test_what_a_sample_costs_is_timed_with_the_store(unified, store, monkeypatch):
    """The number of loading processes follows from it."""
    asked = []
    monkeypatch.setattr(sources, "decode_rgb", lambda *given: asked.append(given))
    data = config(unified, fast_store=str(store))
    loading = DataLoaderConfig(total_workers="auto")
    built = build_loaders(data, loading, LoaderJob())
    assert built.need.cost is not None
    assert asked == []


def test_precomputed_voxels_need_no_spikes_in_the_store(unified, tmp_path):
    for clip in ("train/a", "train/deep/b", "val/c"):
        folder = unified / clip / "spike_vox"
        folder.mkdir()
        for number in range(6):
            voxels = np.random.default_rng(number).random((4, 32, 32)).astype(np.float16)
            np.save(folder / f"{number:06d}.npy", voxels)
        shutil.rmtree(unified / clip / "spike")
    out = tmp_path / "store"
    converted(unified, out)
    given = {"augment": True, "use_precomputed_voxels": True}
    expected = finished(train_set(unified, **given))
    for is_lean in (False, True):
        fast = train_set(unified, **given)
        fast.use_store(out)
        if is_lean:
            fast.hand_over_bytes()
        assert_same(expected, finished(fast))


def test_a_second_conversion_writes_only_what_has_changed(unified, store):
    inodes = {path: path.stat().st_ino for path in store.rglob(f"*{SUFFIX}")}
    assert len(inodes) == 3
    assert converted(unified, store) == ["3 of 3 clips are there already"]
    changed = unified / "train/a/sharp/000003.png"
    os.utime(changed, ns=(1, changed.stat().st_mtime_ns + 1))
    with pytest.raises(DataError, match=r"000003\.png changed since its conversion") as caught:
        train_set(unified).use_store(store)
    assert f"vrtspike.data.fast_store --root {unified} --out {store}" in str(caught.value)
    (unified / "val/c/spike/000005.dat").unlink()
    said = converted(unified, store)
    assert said[0] == "1 of 3 clips are there already"
    now = {path: path.stat().st_ino for path in store.rglob(f"*{SUFFIX}")}
    assert [path.stem for path in now if now[path] != inodes[path]] in (["a", "c"], ["c", "a"])
    train_set(unified).use_store(store)


def test_another_kind_of_picture_is_not_mistaken_for_the_stored_one(unified, store):
    with pytest.raises(
        DataError, match=r"blur_gamma/000000\.png is not in the fast store"
    ) as caught:
        train_set(unified, blur_dir="blur_gamma").use_store(store)
    assert "--blur-dir blur_gamma" in str(caught.value)


def kill_at(writes: int, unified: Path, out: Path) -> bool:
    """Convert in a process that is gone at its n-th write; whether it came so far."""
    child = os.fork()
    if child == 0:
        real, done = os.pwrite, 0

        def write(descriptor, data, offset):
            nonlocal done
            done += 1
            if done > writes:
                real(descriptor, data[: len(data) // 2], offset)
                os._exit(9)
            return real(descriptor, data, offset)

        os.pwrite = write
        try:
            converted(unified, out)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_conversion_killed_at_any_write_goes_on_where_it_was(unified, store, tmp_path):
    expected = files_of(store)
    out, deaths = tmp_path / "again", 0
    for writes in (0, 1, 7, 18, 19, 20, 30, 39, 40, 59, 60, 61):
        shutil.rmtree(out, ignore_errors=True)
        deaths += kill_at(writes, unified, out)
        for path in out.rglob(f"*{SUFFIX}"):
            if not path.name.startswith("."):
                assert read_index(path)
        converted(unified, out)
        assert files_of(out) == expected
    assert deaths == 10  # 3 clips of 18 arrays, an index and a header


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_conversions_killed_at_random_moments_end_in_the_same_store(unified, store, tmp_path, seed):
    """One conversion after the other is killed until one gets to the end."""
    expected, rng = files_of(store), random.Random(seed)
    kills = int(os.environ.get("VRTSPIKE_STRESS_KILLS", "500")) // 5
    out, killed = tmp_path / "again", 0
    while killed < kills:
        child = os.fork()
        if child == 0:
            try:
                converted(unified, out, threads=2)
            finally:
                os._exit(0)
        select.select([], [], [], rng.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for path in out.rglob(f"[!.]*{SUFFIX}"):
            assert path.read_bytes() == expected[str(path.relative_to(out))]
        if ended == 0:
            assert files_of(out) == expected
            shutil.rmtree(out)
        killed += ended != 0


def test_every_damaged_byte_is_found(unified, store, capsys):
    assert verify(store, print)
    file = store / "train/deep/b.frames"
    whole = file.read_bytes()
    arrays = read_index(file)
    for array in (arrays[0], arrays[-1]):
        for at in (array.offset, array.offset + array.num_bytes - 1):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert not verify(store, print)
            assert array.source in capsys.readouterr().out
    for broken in (
        b"",
        whole[:20],
        whole[:-1],
        whole + b"x",
        b"x" + whole[1:],
        whole[:-9] + b"x" * 9,
    ):
        file.write_bytes(broken)
        assert not verify(store, print)
        with pytest.raises(DataError, match=r"b\.frames: .* delete it and convert with"):
            train_set(unified).use_store(store)
    converted(unified, store)
    assert file.read_bytes() == whole


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(st.binary(max_size=200), st.recursive(st.integers() | st.text(max_size=3), st.lists))
)
def test_no_index_gets_past_its_check(tmp_path, index):
    path = tmp_path / "x.frames"
    text = index if isinstance(index, bytes) else json.dumps([index]).encode()
    head = struct.pack("<8sQQI", b"vrtspk\x00\x01", 4096, len(text), zlib.crc32(text))
    path.write_bytes(head.ljust(4096, b"\0") + text)
    try:
        found = read_index(path)
    except DataError:
        return
    assert found == []


def test_a_pipe_in_place_of_a_clip_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.frames")
    with pytest.raises(DataError, match="it is a pipe"):
        read_index(tmp_path / "a.frames")


@pytest.mark.parametrize(
    "array",
    [
        ["a", 1, 1, 0, [8], 0],
        ["a", 1, 1, 4096, [1 << 40], 0],
        ["a", 1, 1, 4096, [-1], 0],
        ["a", 1, 1, 4096, [], 0],
        ["a", 1, 1, 4096, [1] * 9, 0],
        ["a", 1, 1, -4096, [8], 0],
    ],
)
def test_an_index_cannot_point_outside_its_file(tmp_path, array):
    path, text = tmp_path / "x.frames", json.dumps([array]).encode()
    head = struct.pack("<8sQQI", b"vrtspk\x00\x01", 8192, len(text), zlib.crc32(text))
    path.write_bytes(head.ljust(8192, b"\0") + text)
    with pytest.raises(DataError, match="points outside the file"):
        read_index(path)


@pytest.mark.parametrize("bad_samples", ["stop", "skip"])
def test_a_clip_that_was_replaced_during_the_run_is_not_read(unified, store, bad_samples):
    """Nor is it taken for a damaged sample: all of them would be."""
    dataset = train_set(unified, bad_samples=bad_samples)
    dataset.use_store(store)
    shutil.copy(store / "train/a.frames", store / "x")
    (store / "x").replace(store / "train/a.frames")
    with pytest.raises(LoadingFaultError, match=r"a\.frames: was replaced during the run"):
        dataset[0]
    (store / "train/a.frames").unlink()
    with pytest.raises(LoadingFaultError, match=r"a\.frames: cannot read the fast store: No such"):
        dataset[0]


def test_a_disk_without_room_is_known_before_the_first_byte(unified, tmp_path, monkeypatch):
    out = tmp_path / "store"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=300_000))
    with pytest.raises(DataError, match=r"0\.00 GiB to write, 0\.00 GiB free"):
        converted(unified, out)
    assert list(out.rglob(f"*{SUFFIX}")) == []


def test_a_disk_that_fills_up_leaves_no_half_clip(unified, tmp_path, monkeypatch):
    real = os.pwrite

    def full(descriptor, data, offset):
        if offset > 20_000:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    out = tmp_path / "store"
    with pytest.raises(DataError, match=r"a\.frames: cannot be written: No space left"):
        converted(unified, out)
    assert [path.name for path in out.rglob("*") if path.is_file()] == [MANIFEST]


def test_a_source_that_changes_while_it_is_read_is_refused(unified, tmp_path, monkeypatch):
    real = fast_store.read_rgb

    def read(path):
        picture = real(path)
        os.utime(path, ns=(1, 1))
        return picture

    monkeypatch.setattr(fast_store, "read_rgb", read)
    with pytest.raises(DataError, match="changed while it was converted"):
        converted(unified, tmp_path / "store")


def test_the_announced_size_is_the_real_one(unified, tmp_path):
    out = tmp_path / "store"
    said = converted(unified, out, threads=3)
    assert "0.00 GiB to write" in said[1]
    for file in out.rglob(f"*{SUFFIX}"):
        arrays = read_index(file)
        last = arrays[-1]
        assert [array.offset % 4096 for array in arrays] == [0] * 18
        assert last.offset + last.num_bytes <= file.stat().st_size < last.offset + 2 * 12288


def test_two_clips_of_one_name_are_refused(unified, tmp_path):
    shutil.copytree(unified / "train/a", unified / "GOPRO_Large/train/a")
    with pytest.raises(DataError, match="two clips of this name"):
        converted(unified, tmp_path / "store")


def test_a_file_is_whole_or_absent(tmp_path):
    (tmp_path / "source").write_bytes(b"abc")
    state = FileState.of(tmp_path / "source", tmp_path)

    def interrupted():
        with ClipFileWriter(tmp_path / "x.frames") as writer:
            writer.add(state, np.zeros((3, 4), np.uint8))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def interrupted(*given):
    raise KeyboardInterrupt


def test_the_command_converts_verifies_and_explains_itself(unified, tmp_path, capsys, monkeypatch):
    out = tmp_path / "store"
    assert main(["--root", str(unified), "--out", str(out)]) == 0
    assert f"{out}: ready; set DATA.FAST_STORE to it" in capsys.readouterr().out
    assert main(["--verify", "--out", str(out)]) == 0
    assert "3 clips, 0.00 GiB checked, 0 damaged" in capsys.readouterr().out
    file = out / "val/c.frames"
    file.write_bytes(file.read_bytes()[:-1])
    assert main(["--verify", "--out", str(out)]) == 1
    assert main(["--verify", "--out", str(tmp_path)]) == 2
    write_picture(tmp_path / "full/x.png", np.zeros((8, 8, 3), np.uint8))
    assert main(["--root", str(unified), "--out", str(tmp_path / "full")]) == 2
    (out / MANIFEST).write_text('{"version": 7}')
    assert main(["--root", str(unified), "--out", str(out)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    monkeypatch.setattr(fast_store, "find_clips", interrupted)
    assert main(["--root", str(unified), "--out", str(tmp_path / "other")]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert "is no fast store" in errors[0]
    assert "is not empty and no fast store" in errors[1]
    assert "of another version" in errors[2]
