"""A run of several ranks, one of which is made slow in one way: `torchrun rank_cases.py CASE ...`.

Each case is RANK:FAULT; a rank may be `all`. The cases run one after another in the processes of
one torchrun, each as a whole run with facts of its own under facts/CASE. Two small layers stand in
for the network, so that a step is short beside the delay on a machine that is busy.
"""

import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from vrtspike.config import Config, load_config
from vrtspike.engine import assembly
from vrtspike.engine.batch_stream import BatchStream
from vrtspike.engine.distributed import World, join_world
from vrtspike.engine.learner import Learner
from vrtspike.engine.saving import CheckpointSaver
from vrtspike.engine.session import RunRequest, Session

DELAY_S = 0.15
FAULTS = {
    "fetch": (BatchStream, "next"),
    "copy": (Learner, "to_device"),
    "forward": (Learner, "forward"),
    "backward": (Learner, "backward"),
    "optimizer": (Learner, "clip"),
    "exchange": (assembly, "average_gradients"),
    "checkpoint": (CheckpointSaver, "save"),
}
CAUSES = {
    "fetch": "input",
    "copy": "input",
    "forward": "compute",
    "backward": "compute",
    "optimizer": "compute",
    "exchange": "communication",
}


class SmallModel(nn.Module):
    """Takes what the network takes, and gives a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv3d(3, 4, 3, padding=1)
        self.tail = nn.Conv3d(4, 3, 3, padding=1)

    def forward(self, blur: torch.Tensor, vox: torch.Tensor) -> torch.Tensor:
        x = self.tail(torch.tanh(self.body(blur.transpose(1, 2))))
        return blur + x.transpose(1, 2) + 0 * vox.mean()


def small_model(config: Config, device: torch.device, *, trained: bool) -> nn.Module:
    torch.manual_seed(config.seed)
    return SmallModel()


def small_stages(config: Config) -> dict[str, tuple[str, ...]]:
    return {"body": ("body",), "tail": ("tail",)}


def slowed(act: Callable) -> Callable:
    @wraps(act)  # DDP looks at the name and the parameters of a hook
    def slow(*arguments, **named):
        time.sleep(DELAY_S)
        return act(*arguments, **named)

    return slow


def run_case(case: str, world: World, overrides: list[str]) -> None:
    rank, _, fault = case.partition(":")
    request = RunRequest(
        config_path=Path("config.yaml"),
        overrides=(*overrides, f"LOG.PROFILES_DIR=facts/{case.replace(':', '_')}"),
    )
    session = Session(request, load_config(request.config_path, request.overrides), world)
    if rank not in ("all", str(world.rank)):
        session.run()
        return
    owner, name = FAULTS[fault]
    with mock.patch.object(owner, name, slowed(getattr(owner, name))):
        session.run()


def main(arguments: list[str]) -> None:
    assembly.make_model, assembly.stage_paths = small_model, small_stages
    world = join_world("cpu")
    overrides = [each for each in arguments if "=" in each]
    for case in arguments:
        if case not in overrides:
            run_case(case, world, overrides)
    world.leave()


if __name__ == "__main__":
    main(sys.argv[1:])
