"""What to look at on the machine of a slow rank, by what makes it slow."""

from diagnostics.language import say
from diagnostics.rules.finding import Advice, Gain
from diagnostics.rules.measurements import Measurements
from diagnostics.rules.reasons import verify

_TEXTS = {
    "input": "Look at the input of rank {rank}{place}: its disk, its loader processes, and who "
    "else reads there; compare read and decode times of its loader with another rank's.",
    "compute": "Look at the device of rank {rank}{place}: its clock, temperature, power limit and "
    "other users, against another rank's; {device}.",
    "communication": "Look at what rank {rank}{place} does between its gradients and their "
    "exchange: a compression hook, or a process that shares its cores.",
}
_ON_GPU = "`nvidia-smi -q -d PERFORMANCE` there names what holds a clock back"
_ON_CPU = "ranks that share cores slow each other (fewer ranks, or OMP_NUM_THREADS)"


def straggler_advice(measured: Measurements, cause: str, cost_ms: float) -> tuple[Advice, ...]:
    """One thing to look at; at most the whole cost is won."""
    text = say(
        _TEXTS[cause],
        rank=measured.rank_slowest,
        place=say(" ({place})", place=measured.rank_place) if measured.rank_place else "",
        device=_ON_GPU if measured.device == "cuda" else _ON_CPU,
    )
    return (
        Advice(
            text=text,
            predicted_gain=Gain(low_ms=0.0, mid_ms=None, high_ms=cost_ms),
            verify=verify("no rank-straggling"),
        ),
    )
