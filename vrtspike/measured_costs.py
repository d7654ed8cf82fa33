"""What was measured on this machine before a run: its processes, its samples, its steps.

`vrtspike.plan_probe` measures, in a process of its own; here is what came of it. Where it did not
run, sizes stand in that were measured once elsewhere. Needs no PyTorch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vrtspike.data.loading_need import SampleCost, StepTime

MIB = 1 << 20
TRAINER_BYTES, CUDA_TRAINER_BYTES = 310 * MIB, 1536 * MIB
WORKER_BYTES = 12 * MIB
OLD_PAGES_BYTES = 30 * MIB
LIBRARY_BYTES, CUDA_LIBRARY_BYTES = 128 * MIB, 1024 * MIB
LAUNCHER_BYTES = 146 * MIB
_LEAST_WORKER_BYTES = 4 * MIB
_STANDARD = "PyTorch 2.13 for CPU on Linux; not measured on this machine"
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


def standard_sizes(device: Literal["cpu", "cuda"]) -> ProcessSizes:
    """Sizes of another machine; on a GPU those of trainer and libraries are estimates."""
    is_cuda = device == "cuda"
    return ProcessSizes(
        trainer_bytes=CUDA_TRAINER_BYTES if is_cuda else TRAINER_BYTES,
        worker_bytes=WORKER_BYTES,
        has_scratch=False,
        old_pages_bytes=OLD_PAGES_BYTES,
        library_bytes=CUDA_LIBRARY_BYTES if is_cuda else LIBRARY_BYTES,
        launcher_bytes=LAUNCHER_BYTES,
        source=_STANDARD,
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
