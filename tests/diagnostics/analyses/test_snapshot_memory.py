"""Snapshots of an allocator: who holds what, where the peak was, what is wasted, what stays."""

import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from torch.cuda import _memory_viz as torchs_own

from diagnostics.analyses.snapshot_memory import analyse_snapshot
from diagnostics.analyses.snapshot_outliving import compute_outliving
from diagnostics.analyses.snapshot_places import UNKNOWN_PLACE, place_of, stage_of
from diagnostics.errors import DiagnosticsError
from diagnostics.memory_snapshot import Frame
from diagnostics.parsers import snapshot_file
from diagnostics.parsers.snapshot_file import read_snapshot
from tests.diagnostics.snapshot_factory import MIB, START_US, Allocator, frames

TORCH = ("/venv/lib/python3.11/site-packages/torch/nn/functional.py", 10, "linear")
ATTENTION = frames(TORCH, ("/code/vrtspike/model/attention.py", 88, "forward"))
FLOW = frames(("/code/vrtspike/model/optical_flow.py", 40, "forward"))
LOSS = frames(("/code/train.py", 12, "step"), ("/code/train.py", 3, "<module>"))


@pytest.fixture
def save(tmp_path: Path):
    def make(content: Any) -> Path:
        path = tmp_path / "1_request.rank0.pickle"
        path.write_bytes(pickle.dumps(content, 4))
        return path

    return make


def busy(seed: int, num_moves: int = 400) -> Allocator:
    """Random allocations and frees; half of the history forgotten in between."""
    draw, allocator, live = random.Random(seed), Allocator(), []
    for move in range(num_moves):
        if move == num_moves // 2:
            allocator.forget()
        if live and draw.random() < 0.45:
            allocator.free(live.pop(draw.randrange(len(live))))
        else:
            stack = draw.choice([ATTENTION, FLOW, LOSS])
            live.append(allocator.alloc(draw.randrange(1, 6 * MIB), stack))
    return allocator


@pytest.mark.parametrize("seed", range(6))
def test_sums_agree_with_the_allocator_and_with_torchs_own_reader(save, seed: int) -> None:
    allocator = busy(seed)
    content = allocator.snapshot()
    (device,) = analyse_snapshot(read_snapshot(save(content)))
    blocks = [block for segment in content["segments"] for block in segment["blocks"]]
    held = [block for block in blocks if block["state"] == "active_allocated"]
    assert device.held_bytes == sum(block["size"] for block in held) == allocator.levels[-1]
    assert device.reserved_bytes == sum(each["total_size"] for each in content["segments"])
    waste = device.waste
    assert device.held_bytes + waste.free_bytes == device.reserved_bytes
    assert waste.returnable_bytes + waste.stuck_bytes == waste.free_bytes
    assert waste.rounding_bytes == sum(each["size"] - each["requested_size"] for each in held)
    for holders in (device.places, device.stages):
        assert sum(each.size_bytes for each in holders) == device.held_bytes
        assert sum(each.count for each in holders) == len(held)
    told = torchs_own.segsum(content)  # raises where the format is not what it reads
    assert f"segments: {len(content['segments'])}" in told


@pytest.mark.parametrize("seed", range(6))
def test_the_peak_is_that_of_the_history_and_is_accounted_for(save, seed: int) -> None:
    """Levels are known from the end backwards, though the history begins in the middle."""
    allocator = busy(seed)
    (device,) = analyse_snapshot(read_snapshot(save(allocator.snapshot())))
    peak = device.peak
    assert peak is not None
    assert peak.size_bytes == max(allocator.levels)
    named = sum(holder.size_bytes for holder in peak.places)
    assert named + peak.before_bytes == peak.size_bytes
    assert sum(holder.size_bytes for holder in peak.stages) == named


def test_stage_and_line_are_those_of_the_stack(save) -> None:
    allocator = Allocator()
    allocator.alloc(4 * MIB, FLOW)
    allocator.alloc(2 * MIB, ATTENTION)
    allocator.label = "step=3 stage=vrt.stage2 phase=backward"
    allocator.alloc(1 * MIB, ATTENTION)
    allocator.alloc(512)
    (device,) = analyse_snapshot(read_snapshot(save(allocator.snapshot())))
    assert [(each.name, each.size_bytes) for each in device.places] == [
        ("model/optical_flow.py:40 forward", 4 * MIB),
        ("model/attention.py:88 forward", 3 * MIB),
        (UNKNOWN_PLACE, 512),
    ]
    assert {each.name: each.size_bytes for each in device.stages} == {
        "flow": 4 * MIB,
        "outside the stages": 2 * MIB,
        "vrt.stage2 backward": MIB + 512,
    }


def test_what_lies_between_tensors_is_told_from_what_can_be_given_back(save) -> None:
    allocator = Allocator()
    held = [allocator.alloc(5 * MIB) for _ in range(8)]  # two segments of four
    for address in (held[0], held[2], *held[4:]):
        allocator.free(address)
    (device,) = analyse_snapshot(read_snapshot(save(allocator.snapshot())))
    assert device.waste.returnable_bytes == 20 * MIB
    assert device.waste.stuck_bytes == 10 * MIB
    assert device.waste.largest_bytes == 20 * MIB
    assert device.waste.num_pieces == 3


def test_memory_that_ran_out_is_told_with_its_line(save) -> None:
    allocator = Allocator()
    allocator.run_out(3 * MIB, 2 * MIB, LOSS)
    (device,) = analyse_snapshot(read_snapshot(save(allocator.snapshot())))
    (refusal,) = device.refusals
    assert (refusal.requested_bytes, refusal.free_bytes) == (3 * MIB, 2 * MIB)
    assert refusal.place == "code/train.py:12 step"
    assert refusal.at_unix_s == pytest.approx(START_US / 1e6, abs=1)
    assert device.peak is None


def leaking(labels: bool, steps: int = 8) -> tuple[Allocator, list[float]]:
    """Steps of activations that come and go; one line leaves 1 MiB, another one thing once."""
    allocator, starts = Allocator(), []
    allocator.alloc(10 * MIB, FLOW)  # weights
    for step in range(1, steps + 1):
        starts.append(allocator.now_us / 1e6)
        allocator.now_us += 1000
        allocator.label = f"step={step} stage=vrt.stage1 phase=forward" if labels else ""
        held = [allocator.alloc(3 * MIB, ATTENTION) for _ in range(3)]
        allocator.alloc(MIB, LOSS)
        if step == 3:
            allocator.alloc(2 * MIB, FLOW)
        for address in held:
            allocator.free(address)
    return allocator, starts


@pytest.mark.parametrize("labels", [True, False])
def test_what_each_step_leaves_adds_up_and_what_stays_once_does_not(save, labels: bool) -> None:
    allocator, starts = leaking(labels)
    snapshot = read_snapshot(save(allocator.snapshot()))
    found = compute_outliving(snapshot, 0, () if labels else starts)
    assert (found.num_steps, found.reason) == (6, None)  # neither the first nor the last
    leak, once = found.remnants
    assert (leak.place, leak.is_adding_up) == ("code/train.py:12 step", True)
    assert (leak.size_bytes, leak.num_steps, leak.per_step_bytes) == (6 * MIB, 6, MIB)
    assert (once.place, once.is_adding_up) == ("model/optical_flow.py:40 forward", False)


def test_a_healthy_history_leaves_nothing(save) -> None:
    allocator = Allocator()
    for step in range(1, 9):
        allocator.label = f"step={step}"
        allocator.free(allocator.alloc(3 * MIB, ATTENTION))
    found = compute_outliving(read_snapshot(save(allocator.snapshot())), 0)
    assert (found.num_steps, found.remnants, found.reason) == (6, (), None)


def test_without_steps_or_history_the_reason_is_said(save) -> None:
    allocator, _ = leaking(labels=False)
    assert "where steps begin" in str(compute_outliving(_read(save, allocator), 0).reason)
    silent = Allocator(keeps_history=False)
    silent.alloc(MIB)
    assert "no history" in str(compute_outliving(_read(save, silent), 0).reason)
    short, starts = leaking(labels=False, steps=2)
    assert "no whole step" in str(compute_outliving(_read(save, short), 0, starts).reason)


def _read(save, allocator: Allocator):
    return read_snapshot(save(allocator.snapshot()))


def test_snapshots_of_older_versions_are_read(save) -> None:
    """Before 2.0 a list of segments; before 2.1 the size asked for in a block's own history."""
    block = {
        "size": 2 * MIB,
        "state": "active_allocated",
        "history": [{"addr": 1, "real_size": MIB, "frames": LOSS}],
    }
    segment = {"device": 1, "address": 5, "total_size": 2 * MIB, "blocks": [block], "stream": 0}
    (device,) = analyse_snapshot(read_snapshot(save([segment])))
    assert (device.device, device.held_bytes, device.waste.rounding_bytes) == (1, 2 * MIB, MIB)
    assert device.places[0].name == "code/train.py:12 step"


def test_a_pickle_of_something_else_is_no_snapshot(save) -> None:
    with pytest.raises(DiagnosticsError, match="no memory snapshot"):
        read_snapshot(save({"model": {"weight": [1.0]}}))


@pytest.mark.parametrize(
    "content",
    [
        {"segments": [1, None, {"blocks": "x", "total_size": -5, "device": "a"}]},
        {"segments": [], "device_traces": [None, [{"action": 3, "size": 1e300, "frames": [7]}]]},
        {"segments": [{"blocks": [{"size": True, "state": 5, "frames": {"a": 1}}]}]},
        {"segments": [], "device_traces": {"a": 1}, "allocator_settings": [1]},
    ],
)
def test_a_snapshot_of_odd_parts_is_read_as_far_as_it_goes(save, content: Any) -> None:
    snapshot = read_snapshot(save(content))
    for device in analyse_snapshot(snapshot):
        assert device.held_bytes >= 0
        compute_outliving(snapshot, device.device)


def test_a_small_file_of_many_visits_is_refused(save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_file, "MAX_ROWS", 10_000)
    path = save({"segments": [{"blocks": [{"size": 1, "state": "inactive"}] * 11_000}]})
    assert path.stat().st_size < 25_000
    with pytest.raises(DiagnosticsError, match="refused: more than 10000"):
        read_snapshot(path)


def test_of_a_long_history_the_newest_is_kept(save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_file, "MAX_ROWS", 100)
    allocator = Allocator()
    for _ in range(100):
        allocator.free(allocator.alloc(MIB, LOSS))
    snapshot = _read(save, allocator)
    assert 0 < len(snapshot.history) < 100
    assert "older" in snapshot.notes[0]
    assert snapshot.history["at_unix_s"].iloc[-1] == pytest.approx(allocator.now_us / 1e6)


def test_places_without_a_line_of_ones_own() -> None:
    inner = Frame(file="/x/site-packages/torch/optim/adamw.py", line=1, function="step")
    assert place_of([inner]) == "optim/adamw.py:1 step"
    assert stage_of([inner]) == "optimizer"
    assert place_of([]) == UNKNOWN_PLACE
    assert stage_of([], "whatever=x") is None
