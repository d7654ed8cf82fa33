"""The phases and stages of a log: lines that state all of a step, or lines that state one each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diagnostics import tables as declared
from diagnostics.parsers.line_shapes import STEP, Floats
from diagnostics.parsers.log_formats.fields import STAGE_PART, STAGES
from diagnostics.parsers.log_formats.original_times import VRT_WHOLE
from diagnostics.parsers.log_lines import MAX_MS
from diagnostics.parsers.log_tables import MAX_STEP
from diagnostics.parsers.log_windows import last_of
from diagnostics.parsers.scanned import NO_STEP, Integers, Scanned
from diagnostics.run import Clock

FORWARD, FORWARD_OTHER, VRT_OTHER = "forward", "forward.other", "vrt.other"
_IN_TRUNK = ("vrt.", "fusion")


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Lines that name the same parts: a row of `ms` for each of `steps`, a column for each name.

    `direction` is `phase`, `forward`, `backward` or `recompute`.
    """

    direction: str
    clock: Clock
    rank: int
    names: Sequence[str]
    steps: Integers
    places: Integers
    ms: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class LogStages:
    """The tables `phases` and `stages` of the stage lines; `ends` holds every line's step.

    `are_single_steps`: each time is of one step, not the mean of those since the line before it.
    """

    phases: pd.DataFrame
    stages: pd.DataFrame
    ends: Integers
    clock: Clock | None
    are_single_steps: bool = False


def stages_of(found: Scanned) -> LogStages:
    """What the stage lines of a log state; where lines repeat a step, the last line's times."""
    lines = [*_of_stage_lines(found)]
    parts = [*_of_parts(found)] if not lines else []
    layouts = lines or parts
    left_out = found.steps_left_out.get(STAGES if lines else STAGE_PART, [])
    ends = np.unique(
        np.concatenate([np.empty(0, "int64"), *(each.steps for each in layouts), *left_out])
    )
    return LogStages(
        phases=_table([each for each in layouts if each.direction == "phase"]),
        stages=_table([each for each in layouts if each.direction != "phase"], is_stages=True),
        ends=ends[(ends >= 0) & (ends <= MAX_STEP)],
        clock=layouts[-1].clock if layouts else None,
        are_single_steps=bool(parts),
    )


def _of_stage_lines(found: Scanned) -> Iterator[Layout]:
    for key, columns in found.columns.items():
        if key.kind != STAGES:
            continue
        places, values = columns.joined()
        is_step = values[:, key.names.index(STEP)] <= MAX_STEP
        places, values = places[is_step], values[is_step]
        words = dict(key.words)
        for direction in ("phase", "forward", "backward", "recompute"):
            held = [name for name in key.names if name.startswith(f"{direction}:")]
            if held:
                yield Layout(
                    direction=direction,
                    clock="device" if words["clock"] == "device" else "host",
                    rank=int(words.get("rank", 0)),
                    names=[name.partition(":")[2] for name in held],
                    steps=values[:, key.names.index(STEP)].astype("int64"),
                    places=places,
                    ms=values[:, [key.names.index(name) for name in held]],
                )


def _of_parts(found: Scanned) -> Iterator[Layout]:
    """The times that stand on lines of their own, below the line that begins their step."""
    held = [(key, *each.joined()) for key, each in found.columns.items() if key.kind == STAGE_PART]
    frames = [
        pd.DataFrame(
            {
                "name": dict(key.words)["name"],
                "step": values[:, key.names.index(STEP)],
                "ms": values[:, key.names.index("ms")],
                "place": places,
            }
        )
        for key, places, values in held
    ]
    if not frames:
        return
    rows = pd.concat(frames)
    rows = rows[rows["step"].between(0, MAX_STEP) & rows["ms"].between(0, MAX_MS)]
    rows = rows[rows["step"] != NO_STEP].astype({"step": "int64"}).sort_values("place")
    rows = rows.drop_duplicates(["step", "name"], keep="last")
    wide = with_rests(rows.pivot(index="step", columns="name", values="ms"))
    stated = [str(name) for name in wide]
    for direction, names in (
        ("phase", [name for name in stated if name == FORWARD]),
        ("forward", [name for name in stated if name != FORWARD]),
    ):
        if names:
            yield Layout(
                direction=direction,
                clock="host",
                rank=0,
                names=names,
                steps=wide.index.to_numpy("int64"),
                places=np.arange(len(wide)),
                ms=wide[names].to_numpy(),
            )


def with_rests(wide: pd.DataFrame) -> pd.DataFrame:
    """The trunk's whole becomes what its stages leave of it, the forward's rest is named.

    A rest below 0 is none: times of the host's clock need not add up.
    """
    wide = wide.copy()
    if VRT_WHOLE in wide:
        trunk = [name for name in wide if str(name).startswith(_IN_TRUNK)]
        whole = wide.pop(VRT_WHOLE)
        wide[VRT_OTHER] = (whole - wide[trunk].sum(axis=1)).clip(lower=0.0)
    if FORWARD in wide:
        stages = [name for name in wide if name != FORWARD]
        rest = (wide[FORWARD] - wide[stages].sum(axis=1)).clip(lower=0.0)
        if stages:
            wide[FORWARD_OTHER] = rest
    return wide


def _table(layouts: Sequence[Layout], *, is_stages: bool = False) -> pd.DataFrame:
    """The rows of the layouts by step."""
    table = declared.STAGES if is_stages else declared.PHASES
    if not layouts:
        return table.empty()
    key = ["rank", "step", "name", "clock", *(["phase"] if is_stages else [])]
    columns = [_columns(each, is_stages=is_stages) for each in layouts]
    joined: dict[str, Any] = {
        name: pd.api.types.union_categoricals([each[name] for each in columns])
        if isinstance(columns[0][name], pd.Categorical)
        else np.concatenate([each[name] for each in columns])
        for name in columns[0]
    }
    places = joined.pop("place")
    is_stated = (joined["ms"] >= 0) & (joined["ms"] <= MAX_MS)
    order = np.lexsort((places, joined["step"]))
    order = order[is_stated[order]]
    rows = table.from_columns(**{name: values[order] for name, values in joined.items()})
    return last_of(rows, key) if _may_repeat(layouts) else rows


def _may_repeat(layouts: Sequence[Layout]) -> bool:
    """Whether two lines might state the same time of the same step."""
    directions = [each.direction for each in layouts]
    several = len(set(directions)) < len(directions)
    return several or any(len(np.unique(each.steps)) < len(each.steps) for each in layouts)


def _columns(layout: Layout, *, is_stages: bool) -> dict[str, Any]:
    names, size = len(layout.names), layout.ms.size
    codes = np.tile(np.arange(names), len(layout.steps))
    columns: dict[str, Any] = {
        "rank": np.full(size, layout.rank, dtype="int64"),
        "step": np.repeat(layout.steps, names),
        "place": np.repeat(layout.places, names),
        "name": pd.Categorical.from_codes(codes, categories=pd.Index(layout.names)),
        "clock": pd.Categorical([layout.clock]).repeat(size),
        "ms": layout.ms.ravel(),
        "num_steps": np.ones(size, dtype="int64"),
        "is_tagged": np.zeros(size, dtype=bool),
    }
    if is_stages:
        columns["phase"] = pd.Categorical([layout.direction]).repeat(size)
    return columns
