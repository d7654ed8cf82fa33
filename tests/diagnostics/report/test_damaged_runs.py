"""Damaged facts end in a report or in one clear line, never in a traceback."""

import io
import json
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from diagnostics.errors import DiagnosticsError
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.html_report import render_html
from diagnostics.report.json_report import to_json
from diagnostics.report.markdown import to_markdown
from diagnostics.report.series_run import compute_series
from diagnostics.report.tensorboard_report import write_tensorboard
from diagnostics.report.terminal import render_terminal
from tests.diagnostics.report.html_tree import read_page

MAX_PAGE_BYTES = 2_000_000
ODD_VALUES = [
    "null",
    "-1",
    "0",
    "1e18",
    "1e308",
    "-1e-300",
    "1e-12",
    "true",
    "[]",
    "{}",
    '{"a":1}',
    "9007199254740992",
    "1" + "0" * 30,
    '"nan"',
    '"\\u001b[2J"',
    '"|`<script>"',
    json.dumps("x" * 300),
]
ODD_KEYS = ["\x1b]0;x", "zzz", "[bold]", "a" * 150]


def damaged(node, rng):
    """The same JSON with one value changed, removed, or under another key."""
    if isinstance(node, dict) and node and rng.random() < 0.85:
        key = rng.choice(list(node))
        kind = rng.random()
        if kind < 0.1:
            return {name: value for name, value in node.items() if name != key}
        if kind < 0.2:
            return {**node, rng.choice(ODD_KEYS): node[key]}
        return {**node, key: damaged(node[key], rng)}
    if isinstance(node, list) and node:
        place = rng.randrange(len(node))
        return [damaged(item, rng) if i == place else item for i, item in enumerate(node)]
    return json.loads(rng.choice(ODD_VALUES))


def damage(folder, rng):
    meta = folder / "meta.json"
    if rng.random() < 0.5:
        meta.write_text(json.dumps(damaged(json.loads(meta.read_text("utf-8")), rng)), "utf-8")
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text("utf-8").splitlines()
        for place, line in enumerate(lines):
            if rng.random() < 0.3:
                lines[place] = json.dumps(damaged(json.loads(line), rng))
            if rng.random() < 0.02:
                lines[place] = line[:30]
        rng.shuffle(lines)
        path.write_text("\n".join(lines), "utf-8")


def report_in_every_form(folder):
    run = load_run([folder])
    report = build_report(run)
    stream = io.StringIO()
    render_terminal(report, stream, 80, color=False)
    assert "\x1b" not in stream.getvalue()
    assert json.loads(to_json(report))["schema_version"] == 1
    assert to_markdown(report)
    page = render_html(report, compute_series(run, report))
    assert len(page) < MAX_PAGE_BYTES
    read_page(page)
    write_tensorboard(report, folder, 1.0)


def check(new_run, gpu_meta, seeds):
    for seed in seeds:
        rng = random.Random(seed)
        fields = {"meta": gpu_meta} if rng.random() < 0.5 else {}
        folder = new_run(**fields, steps=rng.choice([1, 3, 8]))
        damage(folder, rng)
        with suppress(DiagnosticsError):  # one clear line, such as a foreign schema
            report_in_every_form(folder)


def test_damaged_runs(new_run, gpu_meta):
    check(new_run, gpu_meta, range(12))


@pytest.mark.slow
def test_many_damaged_runs(new_run, gpu_meta):
    check(new_run, gpu_meta, range(1000, 1300))


def test_a_log_s_name_that_no_system_takes_is_only_a_note(new_run, gpu_meta):
    folder = new_run(meta=replace(gpu_meta, log="x" * 1000))
    report = build_report(load_run([folder]))
    assert any("is missing" in note for note in report.notes)
