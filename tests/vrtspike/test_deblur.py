"""The command `python -m vrtspike.deblur`, whole."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from vrtspike.data.frames import read_rgb
from vrtspike.deblur import main as deblur
from vrtspike.train import main as train


@pytest.fixture(scope="module")
def checkpoint(tiny_tree, tiny_settings, tmp_path_factory) -> Path:
    """A model whose output equals its input: the last layer still is as it began."""
    folder = tmp_path_factory.mktemp("teacher")
    settings = tiny_settings(str(tiny_tree))
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert (
            train(["--config", "config.yaml", "TRAIN.TOTAL_STEPS=1", "TRAIN.OPTIM.LR=1e-30"]) == 0
        )
    return next(folder.glob("outputs/checkpoints/*/last.pt"))


def test_frames_and_recorded_spikes_in_frames_and_metrics_out(project, checkpoint, capsys):
    clip = Path("tree/val/c")
    arguments = [str(clip / "blur"), "--checkpoint", str(checkpoint), "--spikes"]
    assert deblur([*arguments, str(clip / "spike"), "--out", "sharp", "--metrics"]) == 0
    said = capsys.readouterr().out
    assert "[deblur] 4 frames -> sharp" in said
    assert "simulated" not in said
    quality = said.splitlines()[-1]
    before, after = quality.split("PSNR_RGB=")[1:]
    assert before.split()[0] == after.strip()
    for path in sorted((clip / "blur").iterdir()):
        np.testing.assert_array_equal(read_rgb(Path("sharp", path.name)), read_rgb(path))


def test_a_video_without_spikes_says_what_simulated_spikes_are_worth(project, checkpoint, capsys):
    clip, common = Path("tree/val/c"), ["--checkpoint", str(checkpoint), "--frames", "3"]
    assert deblur([str(clip / "blur"), "--out", "film.avi", *common]) == 0
    assert deblur(["film.avi", "--out", "again.mp4", *common, "--metrics", str(clip / "blur")]) == 0
    said = capsys.readouterr().out
    assert said.count("nothing that the frames do not show") == 2
    assert Path("again.mp4").stat().st_size > 0
    assert "[metrics] 4 frames | PSNR_RGB=" in said


def test_the_input_is_never_overwritten(project, checkpoint, capsys):
    blur = Path("tree/val/c/blur")
    assert deblur([str(blur), "--out", "film.avi", "--checkpoint", str(checkpoint)]) == 0
    before = Path("film.avi").read_bytes()
    Path("link.avi").symlink_to("film.avi")
    for name in ("film.avi", "link.avi"):
        capsys.readouterr()
        assert deblur([name, "--out", "film.avi", "--checkpoint", str(checkpoint)]) == 2
        assert "film.avi: is an input and is not overwritten" in capsys.readouterr().err
    assert Path("film.avi").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.mp4", "--out", "x"], "missing.mp4: no such video"),
        (["tree/val/c/blur", "--out", "x.gif"], "x.gif: write a video"),
        (["tree/val/c/blur", "--out", "x", "--spikes", "none"], "none: no such folder"),
        (["tree/val/c/blur", "--out", "x", "--metrics", "tree/train"], "holds no pictures"),
        (["tree/val/c/blur", "--out", "x", "--tile", "32", "--overlap", "30"], "--overlap 30"),
        (["tree/val/c/blur", "--out", "x", "--frames", "1"], "--frames 1"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(project, checkpoint, capsys, arguments, words):
    assert deblur(["--checkpoint", str(checkpoint), *arguments]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not Path("x").exists()


def test_a_file_that_is_no_checkpoint_is_one_line(project, capsys):
    assert deblur(["tree/val/c/blur", "--out", "x", "--checkpoint", "config.yaml"]) == 2
    assert "config.yaml: cannot be read as a checkpoint" in capsys.readouterr().err


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom vrtspike.deblur import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
    assert "--overlap PIXELS" in done.stdout
