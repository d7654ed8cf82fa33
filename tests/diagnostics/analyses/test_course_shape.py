"""What a memory's course looks like: planted shapes are named, with their numbers."""

import numpy as np
import pytest

from diagnostics import tables as declared
from diagnostics.analyses.course_shape import course_shape, zigzag
from diagnostics.analyses.course_shapes import compute_course_shapes
from diagnostics.analyses.memory_course import compute_memory_courses
from diagnostics.load import load_run
from diagnostics.report.shape_words import describe_shape
from tests.diagnostics.factories import run_of, write_lines

MIB, GIB = 1 << 20, 1 << 30
STEPS = np.arange(1.0, 501.0)


def noisy(values, size: float = 2 * MIB, seed: int = 0):
    return 8 * GIB + values + np.random.default_rng(seed).normal(0, size, len(values))


def test_a_memory_that_breathes_is_steady() -> None:
    shape = course_shape(STEPS, noisy(np.zeros(500)))
    assert shape.kind == "steady"
    warm = np.minimum(STEPS, 60) * 30 * MIB  # warming up is no shape
    assert course_shape(STEPS, noisy(warm)).kind == "steady"


def test_creep_is_told_with_its_rate() -> None:
    shape = course_shape(STEPS, noisy(STEPS * MIB))
    assert shape.kind == "creep"
    assert shape.per_unit_bytes == pytest.approx(MIB, rel=0.1)
    assert shape.rise_bytes == pytest.approx(400 * MIB, rel=0.1)
    assert describe_shape(shape).startswith("creeps up by ")


def test_steps_are_told_with_their_places() -> None:
    """Crops that grow with the epochs: three sizes, two jumps."""
    levels = np.where(STEPS < 200, 0, np.where(STEPS < 350, 2 * GIB, 5 * GIB))
    shape = course_shape(STEPS, noisy(levels))
    assert shape.kind == "steps"
    assert [jump.at for jump in shape.jumps] == [200, 350]
    sizes = [jump.size_bytes / GIB for jump in shape.jumps]
    assert sizes == pytest.approx([2, 3], abs=0.05)
    said = describe_shape(shape)
    assert "+2.00 GiB at step 200" in said or "+1.99 GiB at step 200" in said


def test_a_fall_that_stays_is_a_step_down() -> None:
    shape = course_shape(STEPS, noisy(np.where(STEPS < 300, GIB, 0)))
    assert (shape.kind, len(shape.jumps)) == ("steps", 1)
    assert "-1.00 GiB at step 300" in describe_shape(shape) or "-" in describe_shape(shape)


def teeth(period: int, height: float = GIB, floor: float = 0.0):
    return height * ((STEPS - 1) % period) / period + floor * (STEPS - 1) / len(STEPS)


def test_a_saw_tooth_at_epochs_is_no_creep() -> None:
    marks = {"epoch": np.arange(50.0, 501.0, 50), "checkpoint": np.arange(20.0, 501.0, 20)}
    shape = course_shape(STEPS, noisy(teeth(50)), marks=marks)
    assert (shape.kind, shape.mark, shape.num_teeth) == ("saw-tooth", "epoch", 7)
    assert shape.period == pytest.approx(50, abs=2)
    assert shape.tooth_bytes == pytest.approx(GIB, rel=0.1)
    assert shape.floor_rise_bytes < 0.5 * shape.tooth_bytes
    assert "with each epoch" in describe_shape(shape)
    assert "floor" not in describe_shape(shape)


def test_a_saw_tooth_whose_floor_rises_says_so() -> None:
    shape = course_shape(STEPS, noisy(teeth(50, floor=4 * GIB)))
    assert (shape.kind, shape.mark) == ("saw-tooth", None)
    assert "its floor rises" in describe_shape(shape)


def test_a_validation_that_comes_and_goes_is_named() -> None:
    pulses = np.where(STEPS % 40 < 4, GIB, 0)
    marks = {"validation": np.arange(40.0, 501.0, 40)}
    shape = course_shape(STEPS, noisy(pulses), marks=marks)
    assert (shape.kind, shape.mark) == ("saw-tooth", "validation")


def test_walks_without_aim_are_seldom_a_saw_tooth_and_never_creep() -> None:
    kinds = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        walk = np.cumsum(draw.choice([-1, 1], 500)) * 30 * MIB
        kinds.append(course_shape(STEPS, noisy(walk, seed=seed)).kind)
    assert kinds.count("saw-tooth") <= 3
    assert kinds.count("steps") <= 3
    assert kinds.count("creep") <= 3


def test_what_comes_as_it_likes_is_uneven() -> None:
    bursts = np.zeros(500)
    for place in (120, 131, 260, 262, 420):
        bursts[place : place + 3] = 2 * GIB
    assert course_shape(STEPS, noisy(bursts)).kind == "uneven"


def test_a_course_that_nears_its_end_is_settling() -> None:
    shape = course_shape(STEPS, noisy(4 * GIB * (1 - np.exp(-STEPS / 120))))
    assert shape.kind == "settling"


def test_few_points_have_no_shape() -> None:
    assert course_shape(STEPS[:9], noisy(STEPS[:9])).kind == "too short"
    assert course_shape(np.array([]), np.array([])).kind == "too short"


@pytest.mark.parametrize("seed", range(5))
def test_a_zigzag_takes_turns_and_spans_the_whole(seed: int) -> None:
    values = np.cumsum(np.random.default_rng(seed).normal(0, 1, 300))
    turns = zigzag(values, 4.0)
    assert turns == sorted(set(turns))
    moves = np.diff(values[turns])
    assert (np.sign(moves[1:]) == -np.sign(moves[:-1])).all()
    assert (np.abs(moves[1:-1]) >= 4.0).all()
    inner = values[turns[1] : turns[-1] + 1]
    assert set(inner[[inner.argmax(), inner.argmin()]]) <= set(values[turns])


def test_a_log_of_memory_lines_alone_has_its_shape(tmp_path) -> None:
    """The documented lines, every ten steps; epochs as the log says them."""
    lines = []
    for step in range(10, 1010, 10):
        mb = 9000 + 1200 * ((step - 10) % 100) / 100
        lines.append(
            f"[Step {step}] Memory - Process: {mb:.1f}MB (6.1%), System: 125.4/256.0GB (49.0%)"
        )
    run = load_run([write_lines(tmp_path / "train.log", lines)])
    courses = compute_memory_courses(run)
    shapes = dict(
        zip([each.name for each in courses], compute_course_shapes(run, courses), strict=True)
    )
    assert shapes["system used"].kind == "steady"
    tooth = shapes["process tree RSS"]
    assert (tooth.kind, tooth.period) == ("saw-tooth", 100)
    assert tooth.tooth_bytes == pytest.approx(1080 * MIB, rel=0.02)


def test_epochs_and_spans_of_a_run_are_where_it_falls() -> None:
    values = noisy(teeth(50))
    steps = declared.STEPS.empty()
    del steps
    rows = [(0, "epoch", float(step), None, {}, "log:1") for step in range(50, 501, 50)]
    lines = declared.MEMORY_LINES.empty()
    names = list(lines.columns)
    filled = [
        tuple(
            {"step": step, "label": f"Step {step}", "process_rss_bytes": size}.get(n) for n in names
        )
        for step, size in zip(STEPS, values, strict=True)
    ]
    run = run_of(
        events=declared.EVENTS.from_rows(rows),
        memory_lines=declared.MEMORY_LINES.from_rows(filled),
    )
    courses = compute_memory_courses(run)
    (shape,) = compute_course_shapes(run, courses)
    assert (shape.kind, shape.mark) == ("saw-tooth", "epoch")


def test_a_creep_that_begins_late_is_told_with_its_length() -> None:
    at = np.arange(800.0)
    noise = np.random.default_rng(0).normal(scale=MIB, size=800)
    shape = course_shape(at, 2000 * MIB + MIB * np.maximum(0, at - 500) + noise)
    assert shape.kind == "creep"
    assert shape.span == pytest.approx(300, abs=40)
    assert f"over the last {shape.span:.0f} steps" in describe_shape(shape)
