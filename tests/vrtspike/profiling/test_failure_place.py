"""Where an allocation failed: stage, phase, line and shapes, by the traceback alone."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from vrtspike.profiling.failure_place import failure_place

TOO_MUCH = 1 << 62


class Fails(nn.Module):
    """Asks for too much, in the forward or when told to in the second run of it."""

    def __init__(self, in_run: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.left = in_run

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        scores = rows @ rows.transpose(-1, -2)
        if not self.left:
            torch.empty(TOO_MUCH, dtype=torch.uint8)
        return self.layer(rows) + scores.sum()


class Network(nn.Module):
    def __init__(self, inner: nn.Module, recompute: bool = False) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Identity(), inner)
        self.recompute = recompute

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if self.recompute:
            out: torch.Tensor = checkpoint(self.stage, rows, use_reentrant=False)
            return out
        return self.stage(rows)


def place_of(network: Network, rows: torch.Tensor, *, redact: bool = False):
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator") as caught:
        network(rows).sum().backward()
    names = {id(network.stage): "stage 1"}
    return failure_place(caught.value, lambda module: names.get(id(module)), redact=redact)


def test_a_failure_in_the_forward_names_stage_line_and_tensors() -> None:
    found = place_of(Network(Fails()), torch.ones(3, 5, 4))
    assert (found["stage"], found["phase"]) == ("stage 1", "forward")
    assert "test_failure_place:Fails.forward:" in str(found["place"]).split(" < ")[0]
    assert found["shapes"] == "scores 3x5x5 float32, rows 3x5x4 float32"


def test_a_failure_while_recomputing_is_told_from_the_forward() -> None:
    rows = torch.ones(3, 5, 4, requires_grad=True)
    found = place_of(Network(Fails(in_run=2), recompute=True), rows)
    assert (found["stage"], found["phase"]) == ("stage 1", "recompute")


class FailsBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows):  # type: ignore[no-untyped-def]
        return rows * 2

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient + torch.empty(TOO_MUCH, dtype=torch.uint8)


class Backward(nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = FailsBackward.apply(rows)
        return out


def test_a_failure_in_the_backward_has_no_stage() -> None:
    found = place_of(Network(Backward()), torch.ones(2, 4, requires_grad=True))
    assert found["phase"] == "backward"
    assert "stage" not in found


def test_a_failure_outside_the_model_has_a_line_and_nothing_else_of_it() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    found = failure_place(caught.value, lambda module: None, redact=True)
    assert set(found) == {"place"}
    assert failure_place(ValueError("never raised"), lambda module: None, redact=False) == {}
