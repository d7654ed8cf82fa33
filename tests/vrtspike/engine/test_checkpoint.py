import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vrtspike.engine import random_state, resume
from vrtspike.engine.checkpoint import (
    Checkpoint,
    Position,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)
from vrtspike.engine.distributed import World
from vrtspike.engine.saving import restore_random_state
from vrtspike.engine.settings import TrainConfig
from vrtspike.errors import CheckpointError

CPU = torch.device("cpu")


def checkpoint(step: int = 3, run_id: str = "train_20240101_000000_abcd") -> Checkpoint:
    torch.manual_seed(step)
    model = nn.Linear(2, 2)
    return Checkpoint(
        run_id=run_id,
        position=Position(step=step, epoch=1, micro_batch=2),
        config={"MODEL": {"NUM_HEADS": 6, "VRT_DEPTHS": [8, 8]}, "DATA": {"K": 32}},
        model=model.state_dict(),
        random_states=(random_state.capture(CPU),),
        best_psnr_db=28.5,
    )


def test_what_was_saved_is_read(tmp_path):
    saved = checkpoint()
    save_checkpoint(tmp_path / "run" / "last.pt", saved)
    read = read_checkpoint(tmp_path / "run" / "last.pt")
    assert (read.position, read.best_psnr_db, read.run_id, read.config) == (
        saved.position,
        saved.best_psnr_db,
        saved.run_id,
        saved.config,
    )
    assert torch.equal(read.model["weight"], saved.model["weight"])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["last.pt"]


def draws() -> tuple:
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random(), random.gauss(0, 1)


def test_generators_continue_from_a_saved_state(tmp_path):
    random_state.seed_everything(5)
    random.gauss(0, 1)
    save_checkpoint(tmp_path / "last.pt", checkpoint_with(random_state.capture(CPU)))
    expected = draws()
    random_state.restore(read_checkpoint(tmp_path / "last.pt").random_states[0], CPU)
    assert draws() == expected


def checkpoint_with(state) -> Checkpoint:
    return Checkpoint(
        run_id="train_x", position=Position(), config={}, model={}, random_states=(state,)
    )


def test_ranks_draw_different_numbers_and_untouched_leaves_no_trace():
    random_state.seed_everything(5, rank=0)
    first = draws()
    random_state.seed_everything(5, rank=1)
    assert draws() != first
    random_state.seed_everything(5, rank=0)
    with random_state.untouched(CPU):
        draws()
    assert draws() == first


def test_a_kill_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint(step=1))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, checkpoint(step=2))
    assert read_checkpoint(path).position.step == 1


def test_a_full_disk_leaves_the_old_file_and_one_line(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint(step=1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"last\.pt.*No space left on device"):
        save_checkpoint(path, checkpoint(step=2))
    assert read_checkpoint(path).position.step == 1
    assert [one.name for one in tmp_path.iterdir()] == ["last.pt"]


def test_a_folder_that_became_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "disk").symlink_to(tmp_path / "unmounted")
    with pytest.raises(CheckpointError, match=r"/disk is no folder, or a link to one that is gone"):
        save_checkpoint(tmp_path / "disk/last.pt", checkpoint(step=1))


def test_a_disk_that_fills_while_writing_is_named_as_such(tmp_path):
    code = (
        "import resource, sys, torch\n"
        "from pathlib import Path\n"
        "from vrtspike.engine.checkpoint import Checkpoint, Position, save_checkpoint\n"
        "from vrtspike.errors import CheckpointError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "model = {'w': torch.ones(9999)}\n"
        "one = Checkpoint(run_id='x', position=Position(), config={}, model=model)\n"
        "try: save_checkpoint(Path(sys.argv[1]), one)\n"
        "except CheckpointError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "last.pt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("the checkpoint cannot be written: File too large\n")
    assert list(tmp_path.iterdir()) == []


class Evil:
    def __reduce__(self):
        return (print, ("owned",))


@pytest.mark.parametrize("content", ["cut", "text", "empty", "pickle", "list", "foreign", "future"])
def test_anything_else_is_refused_in_one_line(tmp_path, content, capsys):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint())
    if content == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif content == "text":
        path.write_text("not a checkpoint\n" * 50)
    elif content == "empty":
        path.write_bytes(b"")
    else:
        foreign = {
            "pickle": {"model": Evil()},
            "list": [1],
            "foreign": {"state_dict": {}},
            "future": {"format": "vrtspike-checkpoint", "version": 99},
        }
        torch.save(foreign[content], path)
    with pytest.raises(CheckpointError, match=r"last\.pt") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert "owned" not in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["x", -1, {}, [1.5], None])
@pytest.mark.parametrize(
    "key", ["run_id", "position", "config", "model", "optimizer", "scaler", "random_states"]
)
def test_a_part_of_another_kind_is_one_line(tmp_path, key, wrong):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint())
    kinds = {"run_id": str, "random_states": list}
    if isinstance(wrong, kinds.get(key, dict)):
        pytest.skip("of the right kind")
    torch.save({**torch.load(path, weights_only=True), key: wrong}, path)
    with pytest.raises(CheckpointError, match=f"last.pt: .*'{key}'"):
        read_checkpoint(path)


@pytest.mark.parametrize("wrong", [{"step": -1}, {"step": "x"}, {"clips": 0}, {"epoch": 1.5}])
def test_a_position_that_cannot_be_is_one_line(tmp_path, wrong):
    path = tmp_path / "last.pt"
    save_checkpoint(path, checkpoint())
    stored = torch.load(path, weights_only=True)
    torch.save({**stored, "position": {**stored["position"], **wrong}}, path)
    with pytest.raises(CheckpointError, match=r"last\.pt: .*'position'"):
        read_checkpoint(path)


def test_damaged_random_states_are_one_line(tmp_path):
    found = resume.Found(tmp_path / "last.pt", checkpoint_with({"torch": "x"}))
    with pytest.raises(CheckpointError, match="random states are damaged"):
        restore_random_state(found, World(CPU), print)


def test_weights_that_do_not_fit_are_named(tmp_path):
    one = checkpoint()
    with pytest.raises(CheckpointError, match="'weight' is \\(2, 2\\), needed is \\(3, 2\\)"):
        load_weights(nn.Linear(2, 3), one, tmp_path)
    with pytest.raises(CheckpointError, match=r"no weight '0\.weight'"):
        load_weights(nn.Sequential(nn.Linear(2, 2)), one, tmp_path)
    with pytest.raises(CheckpointError, match="1 weights too many, first 'bias'"):
        load_weights(nn.Linear(2, 2, bias=False), one, tmp_path)


def save_run(root: Path, run_id: str, name: str, step: int) -> Path:
    path = root / run_id / name
    save_checkpoint(path, checkpoint(step=step, run_id=run_id))
    return path


OLD, NEW = "train_20240101_000000_ffff", "train_20240102_000000_0000"


def test_auto_takes_the_newest_run_whatever_the_file_times_say(tmp_path):
    save_run(tmp_path, NEW, "best.pt", 5)
    newest = save_run(tmp_path, NEW, "last.pt", 9)
    save_run(tmp_path, OLD, "last.pt", 100)
    found = resume.find_resume("auto", TrainConfig(epochs=1), tmp_path, print)
    assert found is not None
    assert found.path == newest


def test_a_broken_newest_file_is_named_and_the_next_older_one_taken(tmp_path):
    save_run(tmp_path, OLD, "last.pt", 100)
    save_run(tmp_path, NEW, "last.pt", 9).write_bytes(b"cut")
    said: list[str] = []
    found = resume.newest(tmp_path, said.append)
    assert found is not None
    assert found.checkpoint.position.step == 100
    assert len(said) == 1
    assert f"{NEW}/last.pt" in said[0]


def test_only_broken_files_are_an_error_and_none_at_all_is_a_start(tmp_path):
    said: list[str] = []
    settings = TrainConfig(epochs=1, resume_from_checkpoint=True)
    assert resume.find_resume(None, settings, tmp_path, said.append) is None
    assert "starting from scratch" in said[0]
    save_run(tmp_path, NEW, "last.pt", 9).write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="no readable checkpoint"):
        resume.find_resume("auto", settings, tmp_path, print)


def test_the_command_line_wins_over_the_configuration(tmp_path):
    asked = save_run(tmp_path, OLD, "last.pt", 1)
    configured = save_run(tmp_path, NEW, "last.pt", 2)
    settings = TrainConfig(epochs=1, checkpoint_path=str(configured))
    by_wish = resume.find_resume(str(asked.parent), settings, tmp_path, print)
    by_config = resume.find_resume(None, settings, tmp_path, print)
    assert by_wish is not None
    assert by_config is not None
    assert (by_wish.path, by_config.path) == (asked, configured)
    assert resume.find_resume(None, TrainConfig(epochs=1), tmp_path, print) is None


def test_another_model_is_refused_by_the_names_of_the_keys(tmp_path):
    found = resume.Found(tmp_path / "last.pt", checkpoint())
    same = {"MODEL": {"NUM_HEADS": 6, "VRT_DEPTHS": (8, 8)}, "DATA": {"K": 32}}
    resume.check_same_model(found, same)
    other = {"MODEL": {"NUM_HEADS": 3, "VRT_DEPTHS": [8, 8]}, "DATA": {"K": 32, "ROOT": "x"}}
    with pytest.raises(CheckpointError, match=r"MODEL\.NUM_HEADS is 6 there, 3 in") as error:
        resume.check_same_model(found, other)
    assert "VRT_DEPTHS" not in str(error.value)
    assert resume.changed_keys(found, other) == ["DATA.ROOT None -> x", "MODEL.NUM_HEADS 6 -> 3"]
