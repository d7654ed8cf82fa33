import itertools

import pytest
import torch
from torch import nn

from vrtspike.engine.optim import build_optimizer, learning_rate, set_learning_rate
from vrtspike.engine.settings import OptimConfig, SchedConfig

OPTIM = OptimConfig(lr=2e-4)


def rates(total: int, sched: SchedConfig) -> list[float]:
    return [learning_rate(done, total, OPTIM, sched) for done in range(total + 1)]


def test_warm_up_is_linear_and_reaches_the_rate_at_its_last_step():
    values = rates(20, SchedConfig(warmup_steps=4))
    assert values[:5] == pytest.approx([0.5e-4, 1e-4, 1.5e-4, 2e-4, 2e-4])


def test_cosine_passes_the_middle_halfway_and_ends_at_the_floor():
    values = rates(20, SchedConfig(warmup_steps=4, min_lr_ratio=0.1))
    assert values[12] == pytest.approx(2e-4 * 0.55)
    assert values[20] == pytest.approx(2e-5)
    assert learning_rate(500, 20, OPTIM, SchedConfig()) == pytest.approx(0.0)


def test_after_the_warm_up_the_rate_never_rises():
    values = rates(50, SchedConfig(warmup_steps=7))[7:]
    assert all(a >= b for a, b in itertools.pairwise(values))


def test_the_rate_agrees_with_pytorchs_cosine():
    parameter = nn.Parameter(torch.zeros(1))
    reference = torch.optim.AdamW([parameter], lr=2e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(reference, T_max=30, eta_min=2e-5)
    for done in range(30):
        ours = learning_rate(done, 30, OPTIM, SchedConfig(min_lr_ratio=0.1))
        assert ours == pytest.approx(reference.param_groups[0]["lr"], rel=1e-9)
        reference.step()
        schedule.step()


def test_only_trainable_parameters_are_optimised_with_the_configured_values():
    layer = nn.Linear(3, 3)
    layer.bias.requires_grad_(requires_grad=False)
    settings = OptimConfig(lr=3e-4, betas=(0.8, 0.95), weight_decay=0.02)
    optimizer = build_optimizer(layer.parameters(), settings)
    (group,) = optimizer.param_groups
    assert [id(p) for p in group["params"]] == [id(layer.weight)]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.8, 0.95), 0.02)
    set_learning_rate(optimizer, 1e-5)
    assert group["lr"] == 1e-5
