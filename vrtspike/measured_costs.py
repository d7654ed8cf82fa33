"""What was measured on this machine before a run: its processes, its samples, its steps.

`vrtspike.plan_probe` measures, in a process of its own; here is what came of it. Where it did not
run, sizes stand in that were measured once elsewhere. Needs no PyTorch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vrtspike.data.loading_need import SampleCost, StepTime
from vrtspike.torch_build import is_built_for_gpus

MIB = 1 << 20
TRAINER_BYTES, CUDA_TRAINER_BYTES = 310 * MIB, 1536 * MIB
WORKER_BYTES = 12 * MIB
OLD_PAGES_BYTES = 30 * MIB
LIBRARY_BYTES, CUDA_LIBRARY_BYTES = 128 * MIB, 1024 * MIB
LAUNCHER_BYTES = 146 * MIB
GPU_BUILD_TRAINER_BYTES, GPU_BUILD_LIBRARY_BYTES = 445 * MIB, 342 * MIB
"""On a CPU, by a build for GPUs: its libraries change 135 MiB more of their pages as they load
(the probe with 2.13.0+cu130 and with 2.13.0+cpu on one machine)."""
GPU_BUILD_LAUNCHER_BYTES = 278 * MIB
_LEAST_WORKER_BYTES = 4 * MIB
_STANDARD = "PyTorch 2.13 for {build} on Linux; not measured on this machine"
_HERE = "measured on this machine before the forecast, PyTorch {torch}"


@dataclass(frozen=True, kw_only=True)
class ProcessSizes:
    """Bytes that the processes of a run have of their own, apart from data and network.

    A trainer's are those after its first steps. `worker_bytes` is a loading process at its peak,
    with the batch in the making where `has_scratch`. `old_pages_bytes` is what loading processes
    together keep of pages that the trainer has since changed, `library_bytes` what all processes
    share, `launcher_bytes` what starts several ranks.
    """

    trainer_bytes: int
    worker_bytes: int
    has_scratch: bool
    old_pages_bytes: int
    library_bytes: int
    launcher_bytes: int
    source: str

    def worker_start_bytes(self, scratch_bytes: int) -> int:
        """A loading process without the batch in the making."""
        if not self.has_scratch:
            return self.worker_bytes
        return max(_LEAST_WORKER_BYTES, self.worker_bytes - scratch_bytes)


def standard_sizes(
    device: Literal["cpu", "cuda"], *, gpu_build: bool | None = None
) -> ProcessSizes:
    """Sizes of another machine; on a GPU those of trainer and libraries are estimates.

    Args:
        device: where the run trains.
        gpu_build: whether PyTorch is built for GPUs; by default as it is installed here.
    """
    has_gpu_libraries = is_built_for_gpus() if gpu_build is None else gpu_build
    trainer, library = TRAINER_BYTES, LIBRARY_BYTES
    if device == "cuda":
        trainer, library = CUDA_TRAINER_BYTES, CUDA_LIBRARY_BYTES
    elif has_gpu_libraries:
        trainer, library = GPU_BUILD_TRAINER_BYTES, GPU_BUILD_LIBRARY_BYTES
    return ProcessSizes(
        trainer_bytes=trainer,
        worker_bytes=WORKER_BYTES,
        has_scratch=False,
        old_pages_bytes=OLD_PAGES_BYTES,
        library_bytes=library,
        launcher_bytes=GPU_BUILD_LAUNCHER_BYTES if has_gpu_libraries else LAUNCHER_BYTES,
        source=_STANDARD.format(build="GPUs" if has_gpu_libraries else "CPU"),
    )


@dataclass(frozen=True, kw_only=True)
class MeasuredCosts:
    """Everything that was found out; None where it was not, and in words why."""

    sizes: ProcessSizes | None = None
    cost: SampleCost | None = None
    cost_unknown: str = "no sample was timed"
    step: StepTime | None = None
    step_unknown: str = "no step time is known"


def costs_from_probe(
    found: Mapping[str, Any], device: Literal["cpu", "cuda"]
) -> tuple[ProcessSizes | None, SampleCost | None, str]:
    """What the probe wrote: sizes, the price of a sample, and why there is none.

    Raises:
        KeyError, TypeError, ValueError: the probe wrote something else.
    """
    if "problem" in found:
        return None, None, str(found["problem"])
    cost = found["cost"]
    price = None if cost is None else SampleCost(**cost)
    own, worker = found["trainer_bytes"], found["worker_bytes"]
    if not own or not worker:
        return None, price, str(found["cost_unknown"])
    standard = standard_sizes(device)
    sizes = ProcessSizes(
        trainer_bytes=int(own),
        worker_bytes=int(worker),
        has_scratch=True,
        old_pages_bytes=int(found["old_pages_bytes"] or 0),
        library_bytes=int(found["library_bytes"] or standard.library_bytes),
        launcher_bytes=int(found["launcher_bytes"] or standard.launcher_bytes),
        source=_HERE.format(torch=found["torch"]),
    )
    return sizes, price, str(found["cost_unknown"])
