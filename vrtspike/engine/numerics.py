"""NaN and infinity: noticed in the step, agreed upon by all ranks, and traced to a tensor.

On a GPU the finding of a step is read one step later, so that the host need not wait; the update
itself is left out on the device, so the weights stay as they were.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vrtspike.engine.batch_stream import Batch
from vrtspike.engine.distributed import World
from vrtspike.errors import VRTSpikeError
from vrtspike.profiling.log_lines import numerics_line

MAX_OVERFLOWS_IN_A_ROW = 25
"""More than the 16 halvings from 65536 to 1 and some: float16 itself is too small here."""


class NumericsError(VRTSpikeError):
    """A loss or a gradient is not finite."""


@dataclass(frozen=True)
class StepFigures:
    """What a step came to, over all ranks: a vector on the device, with names for its tail.

    The vector holds the number of ranks with a bad loss, with bad gradients and with a wish to
    stop, the damaged samples of the epoch so far, then the mean loss and its mean terms.
    """

    vector: Tensor
    term_names: tuple[str, ...]

    @property
    def bad(self) -> Tensor:
        """1.0 where the update must be left out, on all ranks alike."""
        return (self.vector[:2].sum() > 0).to(torch.float32)

    @property
    def loss(self) -> Tensor:
        """The mean loss."""
        return self.vector[4]

    @property
    def losses(self) -> Tensor:
        """The mean loss, then its mean terms."""
        return self.vector[4:]

    @property
    def terms(self) -> dict[str, Tensor]:
        """The mean terms of the loss."""
        return dict(zip(self.term_names, self.vector[5:], strict=True))


def combine(
    world: World,
    losses: Tensor,
    term_names: tuple[str, ...],
    grad_norm: Tensor,
    *,
    stop: bool,
    damaged: int = 0,
) -> StepFigures:
    """Put a step's figures of all ranks together; `losses` is the loss, then its terms."""
    bad = torch.stack([~torch.isfinite(losses[0]), ~torch.isfinite(grad_norm)])
    wish = torch.full_like(losses[:1], float(stop))
    damage = torch.full_like(losses[:1], float(damaged))
    vector = torch.cat([bad.to(losses), wish, damage, losses / world.size])
    return StepFigures(world.sum(vector), term_names)


class SideReader:
    """Reads a CUDA tensor as it was when handed over, without waiting for later work."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)

    def take(self, values: Tensor) -> Callable[[], list[float]]:
        """Remember the moment; the returned function waits for that moment only."""
        event = torch.cuda.Event()
        event.record()

        def read() -> list[float]:
            with torch.cuda.stream(self._stream):
                self._stream.wait_event(event)
                listed: list[float] = values.tolist()
                return listed

        return read


def read_now(values: Tensor) -> Callable[[], list[float]]:
    """The reader of the CPU, where nothing is ever outstanding."""
    return values.tolist


@dataclass(frozen=True)
class _Pending:
    step: int
    read: Callable[[], list[float]]
    batches: Sequence[Batch]


@dataclass(frozen=True)
class Reporting:
    """Where findings go: lines for the log, and events for the record (name, values)."""

    say: Callable[[str], None]
    event: Callable[..., None]


class NumericsGuard:
    """Judges every step; stops the run on all ranks where a float is not finite.

    With float16 an overflow is the gradient scaler's normal business: it is counted and said.
    """

    def __init__(
        self,
        world: World,
        reporting: Reporting,
        diagnose: Callable[[Sequence[Batch]], str | None],
        *,
        fp16: bool = False,
        take: Callable[[Tensor], Callable[[], list[float]]] = read_now,
        lag: int = 0,
        hear_damage: Callable[[int], None] | None = None,
    ) -> None:
        """Prepare.

        Args:
            world: all ranks.
            reporting: where findings go.
            diagnose: names the first bad tensor of a step's micro-batches, None if there is none.
            fp16: whether gradients are scaled.
            take: how figures are read.
            lag: steps after which they are read; 0 on the CPU, 1 on a GPU.
            hear_damage: told of the damaged samples of all ranks; may end the run.
        """
        self._world = world
        self._reporting = reporting
        self._diagnose = diagnose
        self._fp16 = fp16
        self._take = take
        self._lag = lag
        self._hear_damage = hear_damage
        self._pending: deque[_Pending] = deque()
        self._in_a_row = 0
        self.overflows = 0
        self.stop_agreed = False

    def backward_is_safe(self, loss: Tensor) -> bool:
        """Whether to run the backward of a micro-batch; the same answer on all ranks.

        On the CPU, PyTorch's bilinear `grid_sample` with border padding crashes the process in the
        backward of a coordinate that is NaN, before anybody could name it. A GPU does not. The
        model's own warp is guarded; what else makes the loss (a teacher, features) may not be.
        """
        if self._lag:
            return True
        return not self._world.sum((~torch.isfinite(loss.detach())).float())

    def add(self, step: int, figures: StepFigures, batches: Sequence[Batch]) -> None:
        """Hand a step over."""
        self._pending.append(_Pending(step, self._take(figures.vector), batches))

    def review(self, *, everything: bool = False) -> None:
        """Judge the steps that are due, or all of them.

        Raises:
            NumericsError: a step was not finite; on every rank at the same step.
        """
        keep = 0 if everything else self._lag
        while len(self._pending) > keep:
            self._judge(self._pending.popleft())

    def _judge(self, pending: _Pending) -> None:
        bad_losses, bad_gradients, stops, damaged, loss, *_ = pending.read()
        self.stop_agreed |= stops > 0
        if self._hear_damage is not None:
            self._hear_damage(round(damaged))
        if not bad_losses and not bad_gradients:
            self._in_a_row = 0
            return
        what = f"loss is {loss:.4g}" if bad_losses else "a gradient is not finite"
        if self._fp16 and self._in_a_row < MAX_OVERFLOWS_IN_A_ROW:
            self._count_overflow(pending.step, what)
            return
        self._stop(pending, what)

    def _count_overflow(self, step: int, what: str) -> None:
        self._in_a_row += 1
        self.overflows += 1
        self._reporting.event("amp_overflow", overflowed_step=step, count=self.overflows)
        action = (
            "in float16: update left out on all ranks, gradient scale halved "
            f"({self.overflows} so far)"
        )
        self._reporting.say(numerics_line(step, what, None, action))

    def _stop(self, pending: _Pending, what: str) -> None:
        found = self._world.gather(self._diagnose(pending.batches))
        named = [(rank, name) for rank, name in enumerate(found) if name]
        tensor = "none when the step was repeated"
        if named:
            rank, tensor = named[0]
            tensor += f", rank {rank}" if self._world.size > 1 else ""
        self._reporting.event("not_finite", bad_step=pending.step, what=what, tensor=tensor)
        self._reporting.say(
            numerics_line(pending.step, what, tensor, "update left out, the run stops")
        )
        raise NumericsError(
            f"step {pending.step}: {what} (first bad tensor: {tensor}); nothing was saved after "
            "it. Lower TRAIN.OPTIM.LR or TRAIN.MAX_GRAD_NORM, prefer TRAIN.AMP_DTYPE=bf16 to "
            "fp16, or check the named data"
        )


def first_bad_tensor(
    model: nn.Module, batches: Sequence[Batch], loss_of: Callable[[Batch], Tensor]
) -> str | None:
    """Repeat a step under observation and name the first tensor that is not finite.

    Weights come first, then each batch: its data, every module's output in the order of execution,
    the loss, and the gradients from the output backwards. The model is left as it was.
    """
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return f"weight {name}"
    for batch in batches:
        found = _bad_data(batch) or _bad_activation(model, batch, loss_of)
        if found:
            return found
    return None


def _bad_data(batch: Batch) -> str | None:
    for key in ("blur", "sharp", "spike_vox"):
        value = batch.get(key)
        if isinstance(value, Tensor) and not _finite(value):
            clip = batch.get("meta", {}).get("seq", "unknown")
            return f"{key} of the data, clip {clip}"
    return None


def _bad_activation(
    model: nn.Module, batch: Batch, loss_of: Callable[[Batch], Tensor]
) -> str | None:
    first: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not first and not all(_finite(tensor) for tensor in _tensors(output)):
                first.append(f"{name} output")

        return hook

    named = [(name, module) for name, module in model.named_modules() if name]
    handles = [module.register_forward_hook(watch(name)) for name, module in named]
    try:
        loss = loss_of(batch)
    finally:
        for handle in handles:
            handle.remove()
    if first:
        return first[0]
    return "loss" if not _finite(loss) else _bad_gradient(model, loss)


def _bad_gradient(model: nn.Module, loss: Tensor) -> str | None:
    """Gradients without touching `.grad`, and without the hooks of DistributedDataParallel."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    for (name, _), gradient in reversed(list(zip(named, gradients, strict=True))):
        if gradient is not None and not _finite(gradient):
            return f"gradient of {name}"
    return None


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        yield from _each(output.values())
    elif isinstance(output, list | tuple):
        yield from _each(output)


def _each(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        yield from _tensors(value)


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
