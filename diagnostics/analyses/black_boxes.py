"""What the black box wrote down: why, at which step, and in which file the stacks are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnostics.run import Run


@dataclass(frozen=True, kw_only=True)
class BlackBoxFile:
    """One file; `step` is None where only the file's name tells of it.

    `values` are the figures of its reason, such as `step_ms`, `median_ms` and `ratio`. `where` is
    the place of the main thread, innermost first.
    """

    rank: int
    reason: str
    step: int | None
    file: str | None
    where: str | None
    values: Mapping[str, float | int | str | None]


@dataclass(frozen=True, kw_only=True)
class EndedHang:
    """A standstill that ended by itself."""

    rank: int
    step: int | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class BlackBoxes:
    """All of a run. `withheld` counts by reason what the limits forbade to write."""

    files: tuple[BlackBoxFile, ...] = ()
    ended_hangs: tuple[EndedHang, ...] = ()
    withheld: Mapping[str, int] | None = None
    memory_snapshots: tuple[str, ...] = ()
    memory_snapshots_missing: tuple[str, ...] = ()


_OWN = ("reason", "file", "at_step", "where")


def compute_black_boxes(run: Run) -> BlackBoxes:
    """Reads the events; a file that no event tells of counts too."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, values, rank, step in zip(
        *(run.tables.events[column] for column in ("name", "values", "rank", "step")), strict=True
    ):
        rows.setdefault(str(name), []).append({"rank": int(rank), "step": step, **_plain(values)})
    files = [_file(row) for row in rows.get("black_box_written", [])]
    known = {each.file for each in files}
    found = [_file({**row, "step": None}) for row in rows.get("black_box_found", [])]
    return BlackBoxes(
        files=(*files, *(each for each in found if each.file not in known)),
        ended_hangs=tuple(
            EndedHang(rank=row["rank"], step=_whole(row["step"]), seconds=_real(row.get("seconds")))
            for row in rows.get("hang_ended", [])
        ),
        withheld=_withheld(rows.get("black_box_withheld", [])),
        memory_snapshots=_texts(rows.get("memory_snapshot", []), "file"),
        memory_snapshots_missing=_texts(rows.get("memory_snapshot_missing", []), "reason"),
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("rank", "step")}


def _file(row: Mapping[str, Any]) -> BlackBoxFile:
    step = row.get("at_step", row.get("step"))
    taken = ("rank", "step", *_OWN)
    return BlackBoxFile(
        rank=row["rank"],
        reason=str(row.get("reason", "unknown"))[:100],
        step=_whole(step),
        file=_text(row.get("file")),
        where=_text(row.get("where")),
        values={key: value for key, value in row.items() if key not in taken},
    )


def _withheld(rows: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        for reason, count in row.items():
            if reason not in ("rank", "step") and (number := _whole(count)):
                counts[reason] = counts.get(reason, 0) + number
    return counts


def _texts(rows: list[dict[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for row in rows if (text := _text(row.get(key))) is not None))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _real(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and value == value else None


def _whole(value: object) -> int | None:
    number = _real(value)
    return None if number is None or abs(number) > 2**53 else int(number)
