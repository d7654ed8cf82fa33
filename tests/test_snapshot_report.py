"""`diagnose_memory.py SNAPSHOT.pickle` from outside: the report, refusals, snapshots of a run."""

import gzip
import json
import os
import pickle
from pathlib import Path

import pytest

from tests.diagnostics.factories import START_UNIX_S, make_run, write_facts
from tests.diagnostics.snapshot_factory import MIB, Allocator, frames

LOSS = frames(("/code/train.py", 12, "step"))
ATTENTION = frames(("/code/vrtspike/model/attention.py", 88, "forward"))


@pytest.fixture
def tool(new_tool):
    return new_tool("diagnose_memory.py")


def leaking(steps: int = 20) -> Allocator:
    allocator = Allocator()
    for step in range(1, steps + 1):
        allocator.label = f"step={step} stage=vrt.stage1 phase=forward"
        held = [allocator.alloc(7 * MIB, ATTENTION) for _ in range(4)]
        allocator.alloc(2 * MIB, LOSS)
        for address in held:
            allocator.free(address)
    allocator.run_out(30 * MIB, MIB, ATTENTION)
    return allocator


def saved(path: Path, allocator: Allocator) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(allocator.snapshot(), 4))
    return path


def test_a_snapshot_alone_is_a_whole_report(tool, tmp_path) -> None:
    path = saved(tmp_path / "oom.pickle", leaking())
    code, out, errors = tool(path, "--json", "r.json", "--html", "r.html", "--width", "200")
    assert (code, errors) == (0, "")
    for part in (
        "read memory snapshot: ",
        "Memory snapshot oom.pickle, device 0",
        "held by tensors of",
        "peak of the history",
        "vrt.stage1 forward",
        "memory ran out: 30.0 MiB asked for, 1.00 MiB free on the device, by model/attention.py",
        "GM302 tensors-outlive-their-step",
        "code/train.py:12 step leaves 2.00 MiB more on device 0 with each step",
        "only a memory snapshot was given",
    ):
        assert part in out
    assert "code/train.py:12 step" in Path("r.html").read_text("utf-8")
    (snapshot,) = json.loads(Path("r.json").read_text("utf-8"))["snapshots"]
    (device,) = snapshot["devices"]
    assert device["held_bytes"] == 40 * MIB
    assert device["peak"]["size_bytes"] == (40 + 28 - 0) * MIB
    assert device["outliving"]["remnants"][0]["is_adding_up"] is True
    assert tool(path, "--fail-on", "warn")[0] == 1


def pieces(kept: int) -> Allocator:
    """Segments of 20 MiB that hold a tensor of 6 MiB each, but for `kept` that are full."""
    allocator, large = Allocator(), []
    for _ in range(10):
        large.append(allocator.alloc(14 * MIB, LOSS))
        allocator.alloc(6 * MIB, ATTENTION)
    for address in large[kept:]:
        allocator.free(address)
    return allocator


def test_free_memory_in_pieces_is_a_finding_and_worse_where_memory_ran_out(tool, tmp_path) -> None:
    allocator = pieces(kept=2)
    code, out, _ = tool(saved(tmp_path / "holes.pickle", allocator), "--width", "200")
    assert code == 0
    assert "NOTE GM301 free-memory-in-pieces" in out
    assert "0.11 GiB of device 0 lie free between tensors (56% of what is reserved)" in out
    assert "the largest piece 14 MiB" in out
    allocator.run_out(100 * MIB, MIB, LOSS)
    assert "WARN GM301" in tool(saved(tmp_path / "failed.pickle", allocator))[1]


def test_few_pieces_are_no_finding(tool, tmp_path) -> None:
    out = tool(saved(tmp_path / "full.pickle", pieces(kept=8)))[1]
    assert "Memory snapshot full.pickle, device 0" in out
    assert "GM301" not in out


def test_an_attack_is_one_line_and_does_nothing(tool, tmp_path) -> None:
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    path = tmp_path / "gift.pickle"
    path.write_bytes(pickle.dumps({"segments": [Runs()]}))
    code, _, errors = tool(path)
    assert code == 2
    assert errors.count("\n") == 1
    assert "gift.pickle is refused: it asks for more than plain data" in errors
    assert not (tmp_path / "ran").exists()


def test_the_other_tool_says_which_one_reads_it(new_tool, tmp_path) -> None:
    path = saved(tmp_path / "s.pickle", leaking(2))
    code, _, errors = new_tool("analyze_performance.py")(path)
    assert code == 2
    assert "is a memory snapshot: `python diagnose_memory.py` reads it" in errors


def test_a_runs_own_snapshot_is_read_with_it_and_its_steps_by_time(tool, tmp_path) -> None:
    """Without labels, the steps of the facts say what outlived one."""
    run = make_run(num_steps=12)
    facts = write_facts(tmp_path / "profiles" / run.run_id, run)
    allocator, at_s = Allocator(), START_UNIX_S
    for step in run.ranks[0]:
        allocator.now_us = round(1e6 * at_s) + 500
        allocator.alloc(2 * MIB, LOSS)
        at_s += step.ms / 1000
    saved(facts / "memory" / "1_request.rank0.pickle", allocator)
    older = saved(facts / "memory" / "0_request.rank0.pickle", leaking(2))
    code, out, errors = tool("--width", "200")
    assert (code, errors) == (0, "")
    assert "Memory snapshot 1_request.rank0.pickle, device 0" in out
    assert "10 of 10" in out
    assert "GM302" in out
    assert f"Memory snapshot {older.name}" not in out
    assert older.name in out


def test_a_snapshot_that_cannot_be_read_costs_the_run_nothing(tool, tmp_path) -> None:
    run = make_run(num_steps=5)
    facts = write_facts(tmp_path / "profiles" / run.run_id, run)
    path = tmp_path / "cut.pickle"
    path.write_bytes(pickle.dumps({"segments": []}, 4)[:-3])
    code, out, errors = tool(facts, path)
    assert code == 2
    assert "damaged at byte" in errors
    assert run.run_id in out


def test_thousands_of_devices_are_refused_before_they_cost_time(tool, tmp_path) -> None:
    path = tmp_path / "many.pickle"
    trace = [{"action": "alloc", "size": 1}] * 10
    path.write_bytes(pickle.dumps({"segments": [], "device_traces": [trace] * 2000}))
    code, _, errors = tool(path)
    assert (code, errors.count("\n")) == (2, 1)
    assert "names 2000 devices" in errors


@pytest.mark.parametrize("name", ["deep.pickle", "deep.pickle.gz"])
def test_what_could_not_be_read_is_no_success(tool, tmp_path, name) -> None:
    """A list in a list, 300,000 deep, once ended as a part of a snapshot, with exit code 0."""
    path, content = tmp_path / name, b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b"."
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    code, _, errors = tool(path)
    assert (code, errors.count("\n")) == (2, 1)
    assert f"{name} is a pickle, but no memory snapshot" in errors


def test_a_packed_snapshot_is_a_whole_report(tool, tmp_path) -> None:
    path = saved(tmp_path / "oom.pickle", leaking())
    packed = tmp_path / "oom.pickle.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    code, out, errors = tool(packed, "--width", "200")
    assert (code, errors) == (0, "")
    assert "read memory snapshot: " in out
    assert "GM302 tensors-outlive-their-step" in out


def test_numbers_beyond_all_sense_are_no_traceback(tool, tmp_path) -> None:
    huge = {"action": "alloc", "addr": 1, "size": 1 << 61, "time_us": 1 << 62, "frames": LOSS}
    block = {"size": 1 << 60, "requested_size": -5, "state": "active_allocated", "frames": LOSS}
    segment = {"device": 1 << 60, "total_size": 1 << 61, "blocks": [block] * 9}
    oom = {"action": "oom", "size": 5, "time_us": 1e300, "device_free": -1e300}
    odd = {"action": {"": None}, "size": [], "frames": {"filename": []}, "user_metadata": {}}
    path = tmp_path / "odd.pickle"
    path.write_bytes(pickle.dumps({"segments": [segment], "device_traces": [[huge, oom, odd] * 9]}))
    code, out, errors = tool(path, "--json", "r.json", "--html", "r.html")
    assert (code, errors) == (0, "")
    assert "Memory snapshot odd.pickle, device 0" in out
