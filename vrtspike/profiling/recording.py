"""What a recorder is told: what to record, where its rank runs, what it measures with."""

from dataclasses import dataclass
from typing import Self

import torch

from vrtspike.profiling.clock import Clock, SystemClock
from vrtspike.profiling.cuda_events import CudaEventTimer
from vrtspike.profiling.memory import StepMemory, step_memory
from vrtspike.profiling.parts import RecorderPart
from vrtspike.profiling.settings import ProfilingConfig
from vrtspike.profiling.timers import HostTimer, Timer


@dataclass(frozen=True, kw_only=True)
class RecordingPlan:
    """What is recorded besides the facts of every step.

    `settings` holds the profiler's schedule and the resource sampler. With `profile` a window of
    steps is traced with the torch profiler; `profile_steps` of them are kept, by default
    `settings.active`. `parts` measure more about each step.
    """

    settings: ProfilingConfig
    profile: bool = False
    profile_steps: int | None = None
    parts: tuple[RecorderPart, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RankPlace:
    """Which of the run's processes this is: `rank` of `world_size`, `local_rank` of its launcher.

    The first of the run's ranks on a machine samples it.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    is_first_on_host: bool | None = None

    @property
    def samples_machine(self) -> bool:
        """Whether this rank is the one that samples its machine."""
        return self.local_rank == 0 if self.is_first_on_host is None else self.is_first_on_host


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """What measures: the host's clock, stages and phases, memory at the end of a step."""

    clock: Clock
    timer: Timer
    memory: StepMemory

    @classmethod
    def fitting(cls, device: torch.device) -> Self:
        """Those of the machine; on CUDA, stages and phases are timed on the device."""
        clock = SystemClock()
        on_gpu = device.type == "cuda"
        timer: Timer = CudaEventTimer(device) if on_gpu else HostTimer(clock)
        return cls(clock=clock, timer=timer, memory=step_memory(device))
