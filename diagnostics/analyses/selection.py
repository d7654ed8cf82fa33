"""Which steps statistics may use: the ordinary ones, or all when every one carries a tag."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The rows to use. `is_tagged_included`: every row was tagged, so all are used."""

    rows: pd.DataFrame
    is_tagged_included: bool


@dataclass(frozen=True, kw_only=True)
class StepCount:
    """Steps used and left out; `by_tag` counts steps by tag, a step with two tags in both.

    `by_tags` counts each step once, by all of its tags ("validation + checkpoint"); in a text log,
    whose windows hold several steps, as `by_tag`.
    """

    count: int
    excluded: int
    by_tag: Mapping[str, int] = field(default_factory=dict)
    by_tags: Mapping[str, int] = field(default_factory=dict)


def select_ordinary(rows: pd.DataFrame) -> Selection:
    """The rows of steps that no rank tagged: the other ranks waited for the tagged one."""
    is_ordinary = ~rows["is_tagged"]
    if rows["rank"].nunique() > 1:
        is_ordinary = ~rows["step"].isin(rows.loc[rows["is_tagged"], "step"].unique())
    if len(rows) and not is_ordinary.any():
        return Selection(rows=rows, is_tagged_included=True)
    return Selection(rows=rows.loc[is_ordinary], is_tagged_included=False)


def count_steps(rows: pd.DataFrame) -> int:
    """How many steps the rows describe: those of the rank with the most."""
    return int(rows.groupby("rank")["num_steps"].sum().max()) if len(rows) else 0


def count_selected(steps: pd.DataFrame) -> StepCount:
    """Used and left-out steps of the table `steps`."""
    selection = select_ordinary(steps)
    count = count_steps(selection.rows)
    if selection.is_tagged_included:
        return StepCount(count=count, excluded=0, by_tag=_by_tag(steps), by_tags=_by_tags(steps))
    left_out = steps.loc[steps["num_tagged"] > 0].drop_duplicates("step")
    return StepCount(
        count=count,
        excluded=int(left_out["num_tagged"].sum()),
        by_tag=_by_tag(steps),
        by_tags=_by_tags(steps),
    )


def _by_tag(steps: pd.DataFrame) -> dict[str, int]:
    """Steps by tag; what a rank tagged counts once, however many ranks did."""
    tagged = steps.loc[steps["num_tagged"] > 0, ["rank", "step", "tags"]]
    single = tagged.assign(tag=tagged["tags"].astype("object").str.split(",")).explode("tag")
    by_rank = single.groupby(["step", "tag", "rank"]).size()
    counts = by_rank.groupby(["step", "tag"]).max().groupby("tag").sum()
    ordered = counts.sort_values(ascending=False, kind="stable")
    return {str(tag): int(count) for tag, count in ordered.items() if tag}


def _by_tags(steps: pd.DataFrame) -> dict[str, int]:
    """Each tagged step once; a tag that any rank gave it counts."""
    tagged = steps.loc[steps["num_tagged"] > 0, ["step", "tags", "num_tagged"]]
    if (tagged["num_tagged"] > 1).any():
        return _by_tag(steps)
    of_step: dict[int, dict[str, None]] = {}
    for step, tags in zip(tagged["step"], tagged["tags"].astype(str), strict=True):
        of_step.setdefault(int(step), {}).update(dict.fromkeys(tags.split(",")))
    counts = Counter(" + ".join(tags) for tags in of_step.values())
    return dict(counts.most_common())
