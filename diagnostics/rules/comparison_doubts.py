"""What else than a change of the training may be behind the change of its times.

Neighbours are told by the limits of MA002. On a computer's own cores they make a step longer by
more than the cores they take, since threads that wait for each other wait for the slowest; what
they add to its processor time is bounded, as far as was measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from diagnostics.analyses.comparison import Comparison
from diagnostics.analyses.comparison_identity import Identity
from diagnostics.analyses.core_use import CoreUse
from diagnostics.language import listed, say
from diagnostics.rules.thresholds import OUTCOME_LIMITS, limits_of, read_thresholds

LIMITS = read_thresholds(OUTCOME_LIMITS)["regression"]
CONTENDED = limits_of("MA002")
MAX_KEYS = 4

SAME_RUN = "The baseline is this very run: nothing can have changed."
OTHER_PROGRAM = (
    "Another program: the baseline is a run of {before}, this one of {after}. What differs between "
    "two programs is no change of one."
)
OTHER_NETWORK = (
    "Another network: {keys}. Its times differ for that, and its quality may: compare both."
)
CHANGE = "{name}: {before} -> {after}"
MORE = "{count} more"
NEIGHBOURS_NOW = (
    "Not comparable: other programs kept {after} busy during this run, {before} during the "
    "baseline, and steps beside neighbours take longer. Repeat this run when nothing else runs."
)
NEIGHBOURS_BEFORE = (
    "Not comparable: other programs kept {before} busy during the baseline, {after} during this "
    "run: a gain may be theirs, and a loss may hide behind it. Repeat the baseline when nothing "
    "else runs."
)
NEIGHBOURS_OF_GPU = (
    "Other programs kept {after} busy during this run, {before} during the baseline: what the "
    "processor does of a step (loading, launching kernels) takes longer beside them."
)
CORES = "{foreign:.1f} of {cores} cores"
CPU_TIME = (
    "The processor time of a step, which neighbours change less, is {after:.0f} ms instead of "
    "{before:.0f} ms ({share:+.1%})."
)
UNKNOWN = (
    "Whether other programs used the cores meanwhile was not recorded in the {side}: neighbours "
    "would make its steps longer."
)
BOTH = "baseline and the run"

Side = Literal["baseline", "run"]

DoubtKind = Literal["same-run", "program", "network", "neighbours", "neighbours-unknown"]


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One sentence on what a change of the times does not, or may not, come from."""

    kind: DoubtKind
    text: str


def find_doubts(found: Comparison) -> tuple[Doubt, ...]:
    """What a reader must know before the change of the times; the gravest first."""
    if found.identity.is_same_run:
        return (Doubt(kind="same-run", text=SAME_RUN),)
    return (*_of_identity(found.identity), *_of_neighbours(found))


def crowded_side(found: Comparison) -> Side | None:
    """The run whose steps others made longer than they made the other's; None: like with like."""
    before, after = found.neighbours.before.use, found.neighbours.after.use
    if before is None or after is None or not found.neighbours.is_on_cpu:
        return None
    if not _differ(before, after):
        return None
    return "run" if after.foreign_share > before.foreign_share else "baseline"


def is_time_judged(found: Comparison) -> bool:
    """Whether it can be told that the step became slower or did not, neighbours included."""
    side = crowded_side(found)
    if side is None or not found.is_judged:
        return found.is_judged
    is_slower = found.headline.outcome == "higher"
    if side == "baseline":
        return is_slower
    return not is_slower or is_surely_slower(found)


def is_surely_slower(found: Comparison) -> bool:
    """Whether more of the change than deserves no look is beyond what neighbours explain."""
    return (surely_slower_share(found) or 0.0) >= LIMITS["at_note"].value


def surely_slower_share(found: Comparison) -> float | None:
    """The part of the change of a step's time, over the baseline, that no neighbour explains.

    None where processor times are not known.
    """
    share = found.neighbours.step_cpu_share
    return None if share is None else (1 + share) / LIMITS["neighbours_cpu_time"].value - 1


def _of_identity(identity: Identity) -> Iterator[Doubt]:
    if identity.programs is not None:
        before, after = identity.programs
        yield Doubt(kind="program", text=say(OTHER_PROGRAM, before=before, after=after))
    if identity.network:
        keys = [
            say(CHANGE, name=each.name, before=each.before, after=each.after)
            for each in identity.network[:MAX_KEYS]
        ]
        left = len(identity.network) - MAX_KEYS
        keys += [say(MORE, count=left)] if left > 0 else []
        yield Doubt(kind="network", text=say(OTHER_NETWORK, keys=listed(keys)))


def _of_neighbours(found: Comparison) -> Iterator[Doubt]:
    load = found.neighbours
    before, after = load.before.use, load.after.use
    if before is None or after is None:
        yield from _unknown(found)
    elif _differ(before, after):
        templates = {"run": NEIGHBOURS_NOW, "baseline": NEIGHBOURS_BEFORE}
        side = crowded_side(found)
        template = NEIGHBOURS_OF_GPU if side is None else templates[side]
        text = say(template, before=_cores(before), after=_cores(after))
        yield Doubt(kind="neighbours", text=text)
        if side is not None and load.step_cpu_share is not None:
            times = {"before": load.before.step_cpu_ms, "after": load.after.step_cpu_ms}
            text = say(CPU_TIME, share=load.step_cpu_share, **times)
            yield Doubt(kind="neighbours", text=text)


def _unknown(found: Comparison) -> Iterator[Doubt]:
    """Said where it could matter: of a change that is shown, on the cores."""
    if not (found.headline.is_shown and found.neighbours.is_on_cpu):
        return
    sides = {"baseline": found.neighbours.before, "run": found.neighbours.after}
    unknown = [name for name, side in sides.items() if side.use is None]
    name = BOTH if len(unknown) > 1 else unknown[0]
    yield Doubt(kind="neighbours-unknown", text=say(UNKNOWN, side=name))


def _differ(before: CoreUse, after: CoreUse) -> bool:
    """Whether one had neighbours that it waited for, and the other had none or far fewer."""
    gap = abs(after.foreign_share - before.foreign_share)
    is_crowded = _is_contended(before) or _is_contended(after)
    return is_crowded and gap >= CONTENDED["foreign"].value


def _is_contended(use: CoreUse) -> bool:
    share, full = CONTENDED["foreign"].value, CONTENDED["busy"].value
    return use.foreign_share >= share and use.busy_share >= full


def _cores(use: CoreUse) -> str:
    return say(CORES, foreign=use.foreign_cores, cores=use.cores)
