"""Shared memory, swap and the page cache of a run, in the report of the machine's load."""

import io
import json
from pathlib import Path

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.console import make_console, print_parts
from diagnostics.report.terminal_resources import resources_section
from tests.diagnostics.factories import (
    START_UNIX_S,
    make_run,
    resource_line,
    write_facts,
    write_lines,
)

MIB = 1 << 20


def text_of(tmp_path: Path, **figures: int) -> str:
    lines = []
    for at in range(3):
        host = {"page_cache_bytes": 7 * MIB, "shmem_bytes": 5 * MIB} if figures else {}
        record = json.loads(resource_line(START_UNIX_S + at, [100 * MIB, 100 * MIB], **host))
        for process in record["processes"]:
            process |= figures
        lines.append(json.dumps(record))
    folder = write_facts(tmp_path / "run", make_run())
    write_lines(folder / "resources.box.jsonl", lines)
    stream = io.StringIO()
    report = build_report(load_run([folder]))
    print_parts(make_console(stream, 120), resources_section(report))
    return " ".join(stream.getvalue().split())


def test_parts_are_summed_over_the_processes_of_a_role(tmp_path: Path) -> None:
    sizes = {"pss_bytes": 60, "uss_bytes": 50, "pss_shm_bytes": 8, "swap_bytes": 2}
    text = text_of(tmp_path, **{name: size * MIB for name, size in sizes.items()})
    assert (
        "2 worker processes, 200 MiB resident at the peak; 120 MiB with each shared page "
        "divided, 16.0 MiB of it in shared memory, 4.00 MiB in swap"
    ) in text
    assert "at the peak 7.00 MiB of files kept by the kernel, 5.00 MiB of shared memory" in text


def test_what_was_not_recorded_is_not_said(tmp_path: Path) -> None:
    text = text_of(tmp_path)
    assert "2 worker processes, 200 MiB resident at the peak" in text
    assert "divided" not in text
    assert "kept by the kernel" not in text
