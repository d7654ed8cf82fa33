"""The .dat codec, voxel grids and TFP against their definitions, written out slowly."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrtspike.data import spike_stream as ss
from vrtspike.errors import DataError

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")


def random_spikes(ticks, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (ticks, height, width), dtype=np.uint8)


def test_bytes_are_least_significant_bit_first_and_bottom_row_first():
    spikes = np.zeros((1, 2, 8), np.uint8)
    spikes[0, 0, 0] = spikes[0, 1, 3] = spikes[0, 1, 7] = 1
    assert ss.encode(spikes).packed.tobytes() == bytes.fromhex("8801")


def test_ticks_of_odd_sizes_are_padded_to_whole_bytes():
    spikes = np.zeros((2, 3, 5), np.uint8)
    spikes[0, 2, 0] = spikes[1, 0, 4] = 1
    assert ss.encode(spikes).packed.tobytes() == bytes.fromhex("01000040")


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 19), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_decoding_undoes_encoding(ticks, height, width, seed):
    spikes = random_spikes(ticks, height, width, seed)
    data = ss.encode(spikes).packed.tobytes()
    assert len(data) == ticks * ss.tick_bytes(height, width)
    assert np.array_equal(ss.decode(data, height, width, source="x").unpack(), spikes)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_window_counts_equal_the_slow_definition(data):
    height, width = data.draw(st.integers(1, 12)), data.draw(st.sampled_from([5, 8, 13, 16, 24]))
    ticks, bins = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = ss.Window(
        top,
        left,
        data.draw(st.integers(1, height - top)),
        data.draw(st.integers(1, width - left)),
    )
    spikes = random_spikes(ticks, height, width, ticks * bins)
    expected = np.zeros((bins, height, width), int)
    for tick in range(ticks):
        expected[tick * bins // ticks] += spikes[tick]
    counted = ss.bin_counts(ss.encode(spikes), ss.bin_edges(ticks, bins), window)
    assert np.array_equal(counted, expected[:, *window.slices()])
    whole = ss.bin_counts(ss.encode(spikes), ss.bin_edges(ticks, bins))
    assert np.array_equal(whole.sum(0), spikes.sum(0))


def test_more_than_255_ticks_in_a_bin_do_not_overflow():
    stream = ss.encode(np.ones((700, 2, 8), np.uint8))
    assert (ss.bin_counts(stream, ss.bin_edges(700, 1)) == 700).all()


@pytest.mark.parametrize("ticks", [56, 81, 88, 104])
def test_flat_voxels_of_constant_light_are_flat(ticks):
    spikes = np.broadcast_to(np.ones((ticks, 1, 1), np.uint8), (ticks, 4, 8))
    voxels = ss.voxelise(ss.encode(spikes), 32, theta=1.5)
    assert voxels.dtype == np.float32
    assert np.allclose(voxels, 1.5)


def test_documented_voxels_are_log1p_counts_with_their_comb():
    voxels = ss.voxelise(ss.encode(np.ones((88, 4, 8), np.uint8)), 32, mode="documented")
    assert np.allclose(voxels[:, 0, 0], np.log1p([3, 3, 3, 2] * 8))


def test_flat_voxels_refuse_fewer_ticks_than_bins():
    stream = ss.encode(random_spikes(10, 4, 8))
    with pytest.raises(DataError, match=r"10 spike ticks cannot fill DATA\.K=32"):
        ss.voxelise(stream, 32)
    empty = (ss.voxelise(stream, 32, mode="documented") == 0).all(axis=(1, 2))
    assert empty.sum() == 22


def test_tfp_is_theta_times_the_mean_of_its_ticks():
    spikes = random_spikes(20, 4, 8)
    image = ss.tfp(ss.encode(spikes), theta=2.0, first=3, stop=15)
    assert np.allclose(image, 2.0 * spikes[3:15].mean(0))
    with pytest.raises(DataError):
        ss.tfp(ss.encode(spikes), first=3, stop=21)


def test_written_file_is_read_back(tmp_path):
    spikes = random_spikes(5, 4, 8)
    ss.write_dat(tmp_path / "a.dat", ss.encode(spikes))
    assert np.array_equal(ss.read_dat(tmp_path / "a.dat", 4, 8).unpack(), spikes)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.dat"]


def test_broken_files_are_named_in_one_line(tmp_path):
    path = tmp_path / "000007.dat"
    cases = {b"": "empty", b"abcde": "cut short"}
    for data, word in cases.items():
        path.write_bytes(data)
        with pytest.raises(DataError, match=word) as caught:
            ss.read_dat(path, 4, 8)
        assert "000007.dat" in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot read"):
        ss.read_dat(tmp_path / "none.dat", 4, 8)


def test_foreign_sizes_that_are_no_whole_bytes_are_refused(tmp_path):
    ss.write_dat(tmp_path / "a.dat", ss.encode(random_spikes(2, 3, 5)))
    with pytest.raises(DataError, match="3x5"):
        ss.read_dat(tmp_path / "a.dat", 3, 5)
    assert ss.read_dat(tmp_path / "a.dat", 3, 5, byte_padded=True).ticks == 2


def test_encode_refuses_what_is_not_spikes():
    with pytest.raises(DataError):
        ss.encode(np.full((2, 2, 8), 2, np.uint8))


@pytest.mark.skipif(REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA is not set")
def test_real_file_shows_its_sharp_frame_upright():
    folder = Path(REFERENCE) / "data" / "gopro_spike"
    stream = ss.read_dat(folder / "000226.dat", 360, 640)
    sharp = cv2.imread(str(folder / "000226.png"), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(sharp, (640, 360), interpolation=cv2.INTER_AREA) / 255.0
    assert stream.ticks == 88
    image = ss.tfp(stream, first=24, stop=56)
    assert np.corrcoef(image.ravel(), small.ravel())[0, 1] > 0.95
    assert np.corrcoef(image[::-1].ravel(), small.ravel())[0, 1] < 0.5
    psnr = -10 * np.log10(np.mean((np.clip(image, 0, 1) - small) ** 2))
    assert psnr == pytest.approx(28.8, abs=0.2)  # 12 dB without theta
