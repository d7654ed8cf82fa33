"""Memory over time."""

import pytest

from diagnostics.analyses.memory_course import MAX_POINTS, compute_memory_courses
from diagnostics.load import load_run
from tests.diagnostics.factories import (
    START_UNIX_S,
    log_lines,
    make_run,
    resource_line,
    write_facts,
    write_lines,
)

MIB = 1024**2


def courses(run):
    return {(each.name, each.owner): each for each in compute_memory_courses(run)}


def test_rank_memory_grows_by_its_slope(tmp_path):
    found = courses(load_run([write_facts(tmp_path, make_run(40))]))
    course = found["rank process RSS", "rank 0"]
    assert (course.first_bytes, course.last_bytes) == (10**9 + 10**6, 10**9 + 40 * 10**6)
    assert course.peak_bytes == course.last_bytes
    assert course.slope_bytes_per_100_steps == pytest.approx(10**8)
    assert course.late_slope_bytes_per_100_steps == pytest.approx(10**8)
    assert ("device allocated", "rank 0") not in found


@pytest.mark.parametrize(("num_steps", "whole", "late"), [(8, 0, 0), (9, 1, 0), (17, 1, 1)])
def test_growth_is_told_of_eight_steps_at_least(tmp_path, num_steps, whole, late):
    """A start of two steps would become gigabytes in a hundred."""
    found = courses(load_run([write_facts(tmp_path, make_run(num_steps))]))
    course = found["rank process RSS", "rank 0"]
    assert (course.slope_bytes_per_100_steps is not None) == whole
    assert (course.late_slope_bytes_per_100_steps is not None) == late


def test_process_tree_is_the_sum_and_placed_on_steps(tmp_path):
    folder = write_facts(tmp_path, make_run(40))
    samples = [resource_line(START_UNIX_S + 0.1 * n, [5 * MIB, n * MIB]) for n in range(30)]
    write_lines(folder / "resources.box.jsonl", samples)
    found = courses(load_run([folder]))
    tree = found["process tree RSS", "box"]
    assert tree.num_points == 30
    assert (tree.first_bytes, tree.peak_bytes) == (5 * MIB, 34 * MIB)
    assert tree.points[0].step == 1
    assert tree.points[-1].step is None, "after the last step"
    assert tree.slope_bytes_per_100_steps > 0
    used = found["system used", "box"]
    assert used.last_bytes == 4 * 10**10
    assert used.limit_bytes == 10**11
    assert ("process tree PSS", "box") not in found, "a part of the processes is not the tree"


def test_a_container_is_held_against_its_own_limit_and_the_machine_against_its_memory(tmp_path):
    folder = write_facts(tmp_path, make_run(4))
    container = {"cgroup_limit_bytes": 5 * 10**10, "cgroup_used_bytes": 10**9}
    write_lines(folder / "resources.box.jsonl", [resource_line(START_UNIX_S, [1], **container)])
    found = courses(load_run([folder]))
    system, inside = found["system used", "box"], found["container used", "box"]
    assert (system.peak_bytes, system.limit_bytes) == (4 * 10**10, 10**11)
    assert (inside.peak_bytes, inside.limit_bytes) == (10**9, 5 * 10**10)


def test_without_a_container_there_is_no_course_of_one(tmp_path):
    folder = write_facts(tmp_path, make_run(4))
    write_lines(folder / "resources.box.jsonl", [resource_line(START_UNIX_S, [1])])
    assert ("container used", "box") not in courses(load_run([folder]))


def test_memory_lines_of_a_log(tmp_path):
    memory = "[Step {}] Memory - Process: {}.0MB (1.0%), System: 50.0/100.0GB (50.0%)"
    lines = log_lines(make_run(3))
    lines += [memory.format(100 * n, 1000 + 50 * n) for n in range(1, 6)]
    found = courses(load_run([write_lines(tmp_path / "a.log", lines)]))
    tree = found["process tree RSS", "rank 0"]
    assert tree.source == "text log"
    assert tree.slope_bytes_per_100_steps == pytest.approx(50 * MIB)
    assert found["system used", "rank 0"].limit_bytes == 100 * 1024**3
    assert ("device allocated", "rank 0") not in found


def test_long_courses_are_thinned_but_keep_their_peak(tmp_path):
    folder = write_facts(tmp_path, make_run(4))
    sizes = [10] * 3000
    sizes[1234] = 99
    lines = [resource_line(START_UNIX_S + n, [size]) for n, size in enumerate(sizes)]
    write_lines(folder / "resources.box.jsonl", lines)
    tree = courses(load_run([folder]))["process tree RSS", "box"]
    assert tree.num_points == 3000
    assert len(tree.points) <= MAX_POINTS + 1
    assert max(point.size_bytes for point in tree.points) == tree.peak_bytes == 99
