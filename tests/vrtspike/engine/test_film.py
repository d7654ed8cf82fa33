import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from vrtspike.data.settings import DataConfig
from vrtspike.data.spike_config import write_spike_config
from vrtspike.data.spike_stream import encode, voxelise, write_dat
from vrtspike.engine.film import check_output, create_film, open_film
from vrtspike.engine.film_spikes import RecordedSpikes, SimulatedSpikes
from vrtspike.errors import DataError

DATA = DataConfig(root="x", k=4)


def smooth(number: int) -> np.ndarray:
    ramp = np.linspace(0, 200, 64)[None, :, None] + np.array([0, 20, 40]) + number
    return np.broadcast_to(ramp, (48, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "film"])
def test_what_is_written_is_read_back(tmp_path, name):
    path = tmp_path / name
    with create_film(path, (48, 64), 20.0) as writer:
        for number in range(5):
            writer.write(f"{number:04d}", smooth(number))
        assert not path.exists()
    film = open_film(path)
    frames = list(film.frames())
    assert (len(film.names), film.size) == (5, (48, 64))
    assert film.fps == (25.0 if name == "film" else 20.0)
    for number, frame in enumerate(frames):
        tolerance = 0 if name == "film" else 8
        assert np.abs(frame.astype(int) - smooth(number)).mean() <= tolerance
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["film.mp4", "film"])
def test_a_failure_leaves_nothing(tmp_path, name):
    def fail():
        with create_film(tmp_path / name, (48, 64), 25.0) as writer:
            writer.write("0", smooth(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_are_refused_first(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    (tmp_path / "file").touch()
    for name, words in [
        ("film.gif", "write a video"),
        ("full", "not empty"),
        ("file", "is a file"),
        ("no/film.mp4", "there is no folder"),
    ]:
        with pytest.raises(DataError, match=words):
            check_output(tmp_path / name)
    check_output(tmp_path / "new")


def test_a_place_that_takes_no_output_is_one_line(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with (
        pytest.raises(DataError, match="new: cannot be written: Permission denied"),
        create_film(tmp_path / "new", (16, 16), 25.0),
    ):
        pass


def test_inputs_that_are_no_film_are_one_line(tmp_path, capfd):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    cv2.imwrite(str(tmp_path / "mixed" / "a.png"), smooth(0))
    cv2.imwrite(str(tmp_path / "mixed" / "b.png"), smooth(0)[:20])
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "piped" / "a.png")
    for name, words in [
        ("text.mp4", "text.mp4"),
        ("empty", "no pictures"),
        ("none", "no such"),
        ("pipe.mp4", "neither a video file nor a folder"),
        ("piped", "it is a pipe"),
    ]:
        with pytest.raises(DataError, match=words):
            open_film(tmp_path / name)
    assert "WARN" not in capfd.readouterr().err
    with pytest.raises(DataError, match=r"b\.png: 20x64 pixels, .* 48x64"):
        list(open_film(tmp_path / "mixed").frames())


def test_a_broken_video_makes_no_noise_of_its_own(tmp_path):
    """In a process of its own: FFmpeg asks for its level once, and a test may have been first."""
    (tmp_path / "text.mp4").write_text("no video")
    code = (
        "from vrtspike.engine.film import open_film\n"
        "from vrtspike.errors import DataError\n"
        "from pathlib import Path\n"
        "try:\n    open_film(Path('text.mp4'))\n"
        "except DataError as error:\n    print(error)\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "text.mp4: not a video that can be decoded\n"
    assert done.stderr == ""


def spikes(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((16, 24, 32)) < 0.3).astype(np.uint8)


def recorded(folder, names):
    folder.mkdir()
    for number, name in enumerate(names):
        write_dat(folder / f"{name}.dat", encode(spikes(number)))
    write_spike_config(folder, {"spike_h": 24, "spike_w": 32, "theta": 2.0})
    return folder


def test_recorded_spikes_belong_to_the_frame_of_their_name(tmp_path):
    folder = recorded(tmp_path / "spike", ["a", "b", "c"])
    found = RecordedSpikes(folder, ["c", "a"], (48, 64), DATA)
    padded = np.zeros((56, 64, 3), np.uint8)
    expected = voxelise(encode(spikes(2)), 4)
    voxels = found.voxels(0, padded)
    assert voxels.shape == (4, 28, 32)
    np.testing.assert_array_equal(voxels[:, :24], expected)
    np.testing.assert_array_equal(voxels[:, 24:], np.repeat(expected[:, -1:], 4, axis=1))


def test_spikes_of_other_names_count_in_order_and_must_be_as_many(tmp_path):
    folder = recorded(tmp_path / "spike", ["a", "b"])
    found = RecordedSpikes(folder, ["000000", "000001"], (48, 64), DATA)
    voxels = found.voxels(1, np.zeros((48, 64, 3), np.uint8))
    np.testing.assert_array_equal(voxels, voxelise(encode(spikes(1)), 4))
    with pytest.raises(DataError, match="2 spike files for 3 frames"):
        RecordedSpikes(folder, ["0", "1", "2"], (48, 64), DATA)
    with pytest.raises(DataError, match="picture is 48x60"):
        RecordedSpikes(folder, ["a", "b"], (48, 60), DATA)


def test_missing_spikes_are_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        RecordedSpikes(tmp_path / "none", ["a"], (48, 64), DATA)
    with pytest.raises(DataError, match=r"no \.dat files"):
        RecordedSpikes(tmp_path, ["a"], (48, 64), DATA)


def test_simulated_spikes_show_the_brightness_of_the_frame():
    camera = SimulatedSpikes(DATA)
    for number in range(3):
        voxels = camera.voxels(number, smooth(number))
        gray = cv2.cvtColor(smooth(number), cv2.COLOR_RGB2GRAY)[::2, ::2] / 255.0
        assert voxels.shape == (4, 24, 32)
        assert np.abs(voxels.mean(0) - gray).mean() < 0.02
