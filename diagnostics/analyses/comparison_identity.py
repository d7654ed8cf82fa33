"""Whether a baseline is a run of its own, of the same program and the same network. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from diagnostics.analyses.comparison_differences import Difference
from diagnostics.run import Run

NETWORK = "MODEL."
_SAME_NETWORK = (
    "ATTENTION",
    "PRETRAINED_FLOW",
    "USE_CHECKPOINT_ATTN",
    "USE_CHECKPOINT_FFN",
    "DROPOUT",
    "DROP_PATH_RATE",
    "ADAPTIVE_CHUNK",
    "MAX_BATCH_TOKENS",
    "CHUNK_SIZE",
    "CHUNK_SHAPE",
)
"""Last parts of keys that say how the same network is computed, or trained."""
OUR_PROGRAM, OUR_LOG = "VRT-Spike", "vrt-spike"
NAMELESS_LOOP = "a training loop without a name"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the two runs have in common.

    `is_same_run` says that both inputs are one run. `programs` are the two where both are known
    and differ, else None. `network` holds the settings that make another network of the same
    program; one that only one of the runs states may have come with a version.
    """

    is_same_run: bool = False
    programs: tuple[str, str] | None = None
    network: tuple[Difference, ...] = ()


def compare_identity(before: Run, after: Run, differences: Sequence[Difference]) -> Identity:
    """By what the runs say of themselves; what only one of them says is no difference."""
    old, new = _program(before), _program(after)
    programs = (old, new) if old is not None and new is not None and old != new else None
    return Identity(
        is_same_run=_is_same_run(before, after),
        programs=programs,
        network=() if programs else tuple(filter(_is_of_network, differences)),
    )


def _is_of_network(each: Difference) -> bool:
    if each.kind != "configuration" or each.before is None or each.after is None:
        return False
    return each.name.startswith(NETWORK) and each.name.split(".")[-1] not in _SAME_NETWORK


def _is_same_run(before: Run, after: Run) -> bool:
    if before.info.run_id is not None and before.info.started_at is not None:
        named = [(run.info.run_id, run.info.started_at) for run in (before, after)]
        return named[0] == named[1]
    paths = [{str(each.path) for each in run.inputs} for run in (before, after)]
    return bool(paths[0] & paths[1])


def _program(run: Run) -> str | None:
    """Who wrote the run; None where nothing says so."""
    info = run.info
    if info.trainer == "own":
        return info.name or NAMELESS_LOOP
    if info.trainer == "vrtspike" or info.log_family == OUR_LOG:
        return OUR_PROGRAM
    return info.log_family
