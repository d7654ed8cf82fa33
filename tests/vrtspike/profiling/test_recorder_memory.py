"""What the recorder holds does not grow with the number of steps."""

import gc
import sys

import torch
from torch import nn

from vrtspike.profiling.settings import ProfilingConfig

STEPS = 10_000
MOST_BLOCKS = 1_000
"""Far below one object a step; rings and windows are full before the count begins."""


def take_steps(recorder, clock, numbers):
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    recorder.observe(model, {"only": [""]})
    for number in numbers:
        recorder.begin_step(number)
        with recorder.phase("forward"):
            loss = model(x).sum()
        with recorder.phase("backward"):
            clock.pass_ms(5)
            loss.backward()
        recorder.end_step(micro_batches=1, samples=1, loss=0.5, lr=1e-4)
        if number == numbers[0] + 500:
            gc.collect()
            before = sys.getallocatedblocks()
    gc.collect()
    return sys.getallocatedblocks() - before


def test_ten_thousand_steps_leave_nothing_behind(new_recorder, clock, heard):
    heard.on_step = lambda step, stages: None
    with new_recorder(settings=ProfilingConfig(resources=False)) as recorder:
        grown = take_steps(recorder, clock, range(1, STEPS + 502))
    assert grown < MOST_BLOCKS
