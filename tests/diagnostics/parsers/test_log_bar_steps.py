"""Hugging Face's losses, which name no step: by the training's bar, or by their epochs."""

import random

import pytest

from diagnostics.parsers.text_log import parse_text_log
from tests.diagnostics.factories import write_lines


def bar(step: int, total: int = 1000, seconds: int | None = None) -> str:
    at = step // 2 if seconds is None else seconds
    clock = f"{at // 60:02}:{at % 60:02}"
    return f" {step}%|#   | {step}/{total} [{clock}<07:30,  2.00it/s]"


def loss(step: int, per_epoch: int = 100) -> str:
    return (
        f"{{'loss': {1000 - step}.5, 'grad_norm': 1.0, 'learning_rate': 1e-05, "
        f"'epoch': {round(step / per_epoch, 2)}}}"
    )


def steps_of(tmp_path, lines):
    log = parse_text_log(write_lines(tmp_path / "a.log", lines))
    rows = log.tables.log_steps
    assert list(rows["loss"]) == [1000.5 - step for step in rows["step"]]
    return list(rows["step"]), log


def test_losses_before_the_first_bar_keep_their_steps(tmp_path):
    lines = [loss(50), loss(100), bar(150), loss(150), bar(200), loss(200)]
    steps, log = steps_of(tmp_path, lines)
    assert steps == [50, 100, 150, 200]
    assert any("the steps of 2 lines" in remark for remark in log.remarks)
    assert log.notes == ()


def test_losses_that_come_late_keep_their_steps(tmp_path):
    """Of a program whose standard output is buffered, but not its standard error."""
    lines = [bar(step) for step in range(50, 401, 50)]
    lines += [loss(step) for step in range(50, 401, 50)]
    steps, log = steps_of(tmp_path, lines)
    assert steps == list(range(50, 401, 50))
    assert any("the steps of 7 lines" in remark for remark in log.remarks)


@pytest.mark.parametrize(
    "other",
    [
        "Loading checkpoint shards: 100%|##| 2/2 [00:05<00:00,  2.50s/it]",
        "100%|####| 20/20 [00:02<00:00, 10.00it/s]",
    ],
)
def test_bars_of_loading_and_evaluating_are_no_steps(tmp_path, other):
    lines = [other, loss(50), bar(100), other, loss(100), bar(150), other, loss(150)]
    steps, _ = steps_of(tmp_path, lines)
    assert steps == [50, 100, 150]


def test_without_epochs_losses_before_the_first_step_are_left_out_and_counted(tmp_path):
    lines = [
        line.replace(", 'epoch'", ", 'age'") for line in (loss(50), bar(100), loss(100), loss(0))
    ]
    lines[-1] = loss(150).replace("1.5}", "0}")
    lines.insert(3, bar(150))
    log = parse_text_log(write_lines(tmp_path / "a.log", lines))
    assert list(log.tables.log_steps["step"]) == [100, 150]
    assert any("1 step lines stand before the first step" in note for note in log.notes)


def test_a_log_without_a_bar_counts_its_losses(tmp_path):
    log = parse_text_log(write_lines(tmp_path / "a.log", [loss(50), loss(100), loss(150)]))
    assert list(log.tables.log_steps["step"]) == [1, 2, 3]


@pytest.mark.parametrize("seed", range(5))
def test_wherever_the_losses_are_flushed_their_steps_are_the_same(tmp_path, seed):
    chance = random.Random(seed)
    lines, waiting = [], []
    for step in range(50, 1001, 50):
        lines.append(bar(step))
        waiting.append(loss(step, per_epoch=200))
        if chance.random() < 0.3:
            lines += waiting
            waiting = []
    steps, _ = steps_of(tmp_path, [*lines, *waiting])
    assert steps == list(range(50, 1001, 50))


def test_a_loss_that_is_stated_as_nan_is_no_missing_loss(tmp_path):
    lines = [bar(50), loss(50), bar(100), loss(100).replace("900.5", "nan"), bar(150), loss(150)]
    steps = parse_text_log(write_lines(tmp_path / "a.log", lines)).tables.steps
    assert list(steps["nonfinite"].fillna("")) == ["", "loss", ""]
    assert list(steps["grad_norm"]) == [1.0, 1.0, 1.0]
