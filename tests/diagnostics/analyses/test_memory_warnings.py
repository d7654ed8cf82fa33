"""What the sampler said before memory ran out, read back, and shown."""

import json
from pathlib import Path
from typing import Any

from diagnostics.analyses.memory_warnings import MemoryWarningSeen, Taker, compute_memory_warnings
from diagnostics.language import speaking, spoken
from diagnostics.load import load_run
from diagnostics.report.memory_warning_words import warning_lines, warning_text
from tests.diagnostics.factories import (
    START_UNIX_S,
    make_run,
    resource_line,
    write_facts,
    write_lines,
)

GIB, MIB = 1 << 30, 1 << 20
VALUES = {
    "free_bytes": GIB,
    "limit_bytes": 4 * GIB,
    "source": "its container (cgroup v2)",
    "bytes_per_s": 20 * MIB,
    "seconds_left": 51.2,
    "grower1": "loader process",
    "grower1_pid": 7,
    "grower1_bytes_per_s": 19 * MIB,
    "grower2": "shared memory",
    "grower2_pid": None,
    "grower2_bytes_per_s": MIB,
}


def said(at_s: float, values: dict[str, Any], **more: Any) -> str:
    body = {"schema": 1, "kind": "event", "name": "memory_running_out", "values": values}
    return json.dumps({**body, "at_unix_s": START_UNIX_S + at_s, **more})


def seen(tmp_path: Path, lines: list[str], heard: list[str]) -> tuple[MemoryWarningSeen, ...]:
    folder = write_facts(tmp_path / "run", make_run())
    write_lines(folder / "resources.box.jsonl", [resource_line(START_UNIX_S, [GIB]), *lines])
    with (folder / "spans.rank0.jsonl").open("a") as file:
        file.writelines(line + "\n" for line in heard)
    return compute_memory_warnings(load_run([folder]))


def test_a_warning_is_read_once_with_its_step_and_who_takes_the_memory(tmp_path: Path) -> None:
    late, early = said(1.2, VALUES), said(0.9, {"free_bytes": MIB, "source": "the machine"})
    found = seen(tmp_path, [late, early], [said(1.3, VALUES, step=9)])
    assert [each.free_bytes for each in found] == [MIB, GIB]
    assert found[1].takers == (
        Taker(what="loader process", pid=7, bytes_per_s=19 * MIB),
        Taker(what="shared memory", pid=None, bytes_per_s=MIB),
    )
    assert (found[1].step or 0) > 1
    assert (found[0].bytes_per_s, found[0].seconds_left, found[0].takers) == (None, None, ())


def test_what_a_rank_heard_serves_where_the_samples_are_lost(tmp_path: Path) -> None:
    (found,) = seen(tmp_path, [], [said(1.3, VALUES, step=9)])
    assert found.seconds_left == 51.2


def test_odd_values_are_unknown(tmp_path: Path) -> None:
    odd = {"free_bytes": "x", "grower1": 5, "grower2": "y", "grower2_bytes_per_s": "z"}
    (found,) = seen(tmp_path, [said(1.0, odd)], [])
    assert (found.free_bytes, found.source, found.takers) == (None, "", ())
    assert "where is not said" in warning_text(found)


def test_it_is_a_sentence_in_both_languages(tmp_path: Path) -> None:
    (found,) = seen(tmp_path, [said(1.0, VALUES)], [])
    text = warning_text(found)
    assert "1.00 GiB left of 4.00 GiB (its container (cgroup v2)), 20.0 MiB/s less" in text
    assert "taken by loader process 7 (19.0 MiB/s), shared memory (1.00 MiB/s)." in text
    with speaking("zh"):
        chinese = spoken(text)
    assert "加载进程 7" in chinese
    assert "left" not in chinese


def test_the_first_and_the_last_of_many_are_shown(tmp_path: Path) -> None:
    found = seen(tmp_path, [said(0.1 * n, VALUES) for n in range(1, 6)], [])
    assert len(found) == 5
    assert len(list(warning_lines(found))) == 3
    assert list(warning_lines(())) == []
