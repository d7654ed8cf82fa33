"""Numbers that no run can have end in a page all the same, and never in its coordinates."""

import random
import re

import pytest

from diagnostics import tables as declared
from diagnostics.report.build import build_report
from diagnostics.report.html_report import render_html
from diagnostics.report.series_run import compute_series
from diagnostics.run import Run
from tests.diagnostics.factories import phase_rows, run_of
from tests.diagnostics.report.html_tree import read_page

VALUES = (0.0, 1.0, 1e-300, 5e-324, 1e9, 1e17, 1e308)
STEPS = ([1], [0, 1, 2], [1, 1, 1], [-5, -4], [1, 2**53], [-(2**62), 2**62], range(500))
TIMES = (0.0, 1.7e9, 1e18, -1e18, 1e308, -1e308)


def odd_run(chance: random.Random) -> Run:
    steps = list(chance.choice(STEPS))
    tagged = [step for step in steps if chance.random() < 0.3]
    names = ("forward", "step", "x" * chance.choice((1, 3000)))
    rows = [
        (rank, step, name, chance.choice(VALUES))
        for rank in range(chance.choice((1, 2, 3)))
        for step in steps
        for name in names
    ]
    return run_of(
        phases=phase_rows(rows, tagged=tagged),
        steps=declared.STEPS.from_records(
            {
                "rank": 0, "step": step, "num_steps": 1, "is_tagged": step in tagged,
                "tags": "a,b", "num_tagged": int(step in tagged), "clock": "host",
                "start_unix_s": chance.choice((None, *TIMES)),
                "process_rss_bytes": chance.choice((None, *VALUES)),
            }
            for step in steps
        ),
        host=declared.HOST.from_records(
            {
                "host": "box", "at_unix_s": chance.choice(TIMES),
                "cpu_percent": chance.choice((None, *VALUES)),
                "ram_total_bytes": chance.choice((None, *VALUES)),
                "ram_available_bytes": chance.choice(VALUES),
            }
            for _ in range(chance.choice((0, 1, 5)))
        ),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_odd_numbers_are_drawn_somewhere() -> None:
    for seed in range(25):
        run = odd_run(random.Random(seed))
        report = build_report(run)
        tree = read_page(render_html(report, compute_series(run, report)))
        for svg in tree.find("svg"):
            for node in (svg, *svg.walk()):
                drawn = " ".join(str(value) for value in node.attributes.values())
                assert not re.search(r"\b(nan|inf)", drawn), (seed, node.tag, drawn[:100])
