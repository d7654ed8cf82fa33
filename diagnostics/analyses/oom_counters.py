"""The kernel's counters of memory that ran out, as a run wrote them down, by machine."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pandas as pd

from diagnostics.aftermath import MemoryCounters
from diagnostics.run import Run

EVENT = "memory_counters"
START, END, GONE, SAMPLE = "start", "end", "trainer_gone", "sample"
_FILE = "resources."
_TEXTS = frozenset({"moment", "boot_id", "cgroup_path", "limit_path"})


def recorded_counters(run: Run) -> dict[str, tuple[MemoryCounters, ...]]:
    """By machine, in order of time: those of the sampler's start and end, and of its samples.

    Of the samples the first and the last that tell anything are kept.
    """
    found: dict[str, list[MemoryCounters]] = {}
    events = run.tables.events
    told = events[events["name"] == EVENT]
    for values, source, at in zip(told["values"], told["source"], told["at_unix_s"], strict=True):
        found.setdefault(_machine(str(source)), []).append(_of_event(values, float(at)))
    for machine, rows in run.tables.host.groupby("host", observed=True):
        found.setdefault(str(machine), []).extend(_of_samples(rows))
    return {
        machine: tuple(sorted(counters, key=lambda each: each.at_unix_s))
        for machine, counters in sorted(found.items())
    }


def _machine(source: str) -> str:
    """`resources.<host>.jsonl:12` is of that host."""
    return source.rpartition(":")[0].removeprefix(_FILE).removesuffix(".jsonl")


def _of_event(values: Mapping[str, Any], at_unix_s: float) -> MemoryCounters:
    names = {each.name for each in fields(MemoryCounters)} - {"at_unix_s"}
    known: dict[str, Any] = {
        name: value
        for name in names
        if isinstance(value := values.get(name), str if name in _TEXTS else int)
    }
    return MemoryCounters(**{"moment": "", **known, "at_unix_s": at_unix_s})


def _of_samples(rows: pd.DataFrame) -> list[MemoryCounters]:
    told = rows[rows["oom_kills"].notna() | rows["cgroup_oom_kills"].notna()]
    ends = told.iloc[[0, -1]] if len(told) > 1 else told
    return [
        MemoryCounters(
            at_unix_s=float(row["at_unix_s"]),
            moment=SAMPLE,
            oom_kills=_whole(row["oom_kills"]),
            cgroup_version=_whole(row["cgroup_version"]),
            cgroup_oom_kills=_whole(row["cgroup_oom_kills"]),
            limit_bytes=_whole(row["cgroup_limit_bytes"]),
        )
        for _, row in ends.iterrows()
    ]


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def last_of_rank_0(run: Run) -> MemoryCounters | None:
    """What was written down last, of the machine of rank 0, with the name of its group."""
    by_machine = recorded_counters(run)
    own = by_machine.get(run.info.host or "") or next(iter(by_machine.values()), ())
    named = [each for each in own if each.cgroup_path is not None]
    return named[-1] if named else (own[-1] if own else None)
