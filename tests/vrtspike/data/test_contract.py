"""Each way to get spikes wrong is recognised and named."""

import os
from pathlib import Path

import numpy as np
import pytest

from vrtspike.data.contract import check_clips
from vrtspike.data.layouts import Clip, Frame, find_clips
from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_config import GOPRO_DEFAULT, write_spike_config
from vrtspike.data.spike_stream import encode, read_dat, write_dat
from vrtspike.errors import DataError

REFERENCE = os.environ.get("VRTSPIKE_REFERENCE_DATA")


def check(root):
    return check_clips(find_clips(DataConfig(root=str(root)), "val"))


def rewrite(root, change):
    """Change the spikes (ticks, h, w) of all files of the val clip by `change`."""
    for path in (root / "val/c/spike").iterdir():
        path.write_bytes(change(read_dat(path, 32, 32).unpack()))


def test_good_data_pass_with_their_facts(unified):
    facts = check(unified)
    assert facts.files == 6
    (frame,) = facts.frames
    assert frame.ticks == frame.expected_ticks == 16
    assert frame.allowed_count == 8
    assert frame.impossible_share == 0
    assert frame.correlation > 0.8  # 16 ticks are few
    assert frame.brightness_ratio == pytest.approx(1.0, abs=0.05)
    assert facts.lowest_correlation == frame.correlation
    assert "6 spike files" in facts.line()


def shuffled(spikes):
    order = np.random.default_rng(0).permutation(32 * 32)
    return spikes.reshape(16, -1)[:, order].reshape(16, 32, 32)


CHANGES = {
    "upside down": lambda s: encode(s[:, ::-1]).packed.tobytes(),
    "most significant first \\(ours": lambda s: np.packbits(
        s[:, ::-1].reshape(16, -1), 1
    ).tobytes(),
    "top-down and its bits": lambda s: np.packbits(s.reshape(16, -1), 1).tobytes(),
    "fire more than": lambda s: encode(np.ones_like(s)).packed.tobytes(),
    "do not show": lambda s: encode(shuffled(s)).packed.tobytes(),
    "expected 16": lambda s: encode(s[:15]).packed.tobytes(),
    "cut short": lambda s: encode(s).packed.tobytes()[:-3],
}


@pytest.mark.parametrize("word", CHANGES)
def test_a_broken_file_is_named_with_its_mistake(unified, word):
    rewrite(unified, CHANGES[word])
    with pytest.raises(DataError, match=word) as caught:
        check(unified)
    assert ".dat" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_byte_per_spike_is_recognised(unified):
    config = {"spike_h": 32, "spike_w": 32, "ticks_per_frame": 16 * 8}
    write_spike_config(unified, config)
    rewrite(unified, lambda s: s.tobytes())
    with pytest.raises(DataError, match="one byte per spike"):
        check(unified)


def test_wrong_threshold_is_recognised(unified):
    write_spike_config(unified, {"spike_h": 32, "spike_w": 32, "theta": 4.0})
    with pytest.raises(DataError, match="theta 4 does not allow"):
        check(unified)


def test_another_frames_file_in_the_middle_of_a_clip_needs_only_its_size(unified):
    path = unified / "val/c/spike/000001.dat"
    path.write_bytes(path.read_bytes()[:-128])
    with pytest.raises(DataError, match=r"000001\.dat"):
        check(unified)


def test_the_last_file_of_a_clip_may_end_early(unified):
    path = unified / "val/c/spike/000005.dat"
    write_dat(path, encode(read_dat(path, 32, 32).unpack()[:9]))  # 8 * (2 - 1) + 1
    assert check(unified).files == 6
    middle = unified / "val/c/spike/000004.dat"
    middle.write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="000004"):
        check(unified)


def test_unknown_sensor_says_what_to_write(unified):
    (unified / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"config\.yaml with spike_h and spike_w"):
        check(unified)


def test_without_known_exposure_any_whole_number_of_ticks_passes(unified):
    write_spike_config(unified, {"spike_h": 32, "spike_w": 32})
    rewrite(unified, lambda s: encode(s[:13]).packed.tobytes())
    assert check(unified).frames[0].expected_ticks is None
    path = unified / "val/c/spike/000000.dat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="whole number"):
        check(unified)


@pytest.mark.skipif(REFERENCE is None, reason="VRTSPIKE_REFERENCE_DATA is not set")
def test_the_real_file_keeps_the_contract():
    folder = Path(REFERENCE) / "data" / "gopro_spike"
    sharp = folder / "000226.png"
    frame = Frame(226, sharp, sharp, folder / "000226.dat", None)
    clip = Clip("GOPR0000_11_00", (frame,), GOPRO_DEFAULT, folder)
    (facts,) = check_clips([clip]).frames
    assert facts.ticks == facts.expected_ticks == 88
    assert facts.correlation > 0.95
    assert facts.max_count == facts.allowed_count == 44
    assert facts.brightness_ratio == pytest.approx(1.0, abs=0.03)
