"""The black box's files in the report: named, explained, none counted twice."""

import json
from pathlib import Path

import pytest

from diagnostics.analyses.black_boxes import compute_black_boxes
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_json
from diagnostics.report.terminal import render_terminal

META = {
    "schema": 1,
    "kind": "run",
    "run_id": "train_20260101_000000_abcd",
    "started_at": "2026-01-01T00:00:00+00:00",
    "status": "failed",
}


def event(name: str, **values: object) -> dict:
    return {
        "schema": 1,
        "kind": "event",
        "name": name,
        "step": 815,
        "at_unix_s": 1.7e9,
        "values": values,
    }


SLOW = event(
    "black_box_written",
    reason="slow_step",
    file="blackbox/1700000000_slow_step.rank0.json",
    at_step=812,
    step_ms=840.1,
    median_ms=271.0,
    ratio=3.1,
    where="a:f:1 < b:g:2",
)


@pytest.fixture
def facts(tmp_path: Path):
    def make(*events: dict, files: tuple[str, ...] = ()) -> Path:
        (tmp_path / "meta.json").write_text(json.dumps(META))
        lines = "".join(json.dumps(each) + "\n" for each in events)
        (tmp_path / "spans.rank0.jsonl").write_text(lines)
        (tmp_path / "steps.rank0.jsonl").write_text("")
        for name in files:
            (tmp_path / "blackbox").mkdir(exist_ok=True)
            (tmp_path / "blackbox" / name).write_text("" if name.startswith("empty") else "x")
        return tmp_path

    return make


def shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    import sys

    render_terminal(build_report(load_run([folder])), sys.stdout, width=200)
    return capsys.readouterr().out


def test_a_slow_step_is_told_with_its_ratio_and_its_file(facts, capsys):
    text = shown(facts(SLOW), capsys)
    assert "Black box: 1 written" in text
    assert "slow step at step 812: 840.1 ms, 3.1 x median; in a:f:1 < b:g:2" in text
    assert "stacks in blackbox/1700000000_slow_step.rank0.json" in text


def test_every_reason_has_its_words(facts, capsys):
    events = [
        event("black_box_written", reason="hang", waited_s=31.5, span="validation", file="h"),
        event("black_box_written", reason="error", type="ValueError", text="bad", file="e"),
        event("black_box_written", reason="not_finite", loss="nan", file="n"),
        event("black_box_written", reason="out_of_memory", memory="device", file="o"),
        event("black_box_written", reason="sigterm", file="s"),
        event("hang_ended", seconds=99.0, file="h"),
        event("black_box_withheld", slow_step=7),
        event("memory_snapshot_missing", reason="no memory snapshot: there is no allocator"),
    ]
    text = shown(facts(*events), capsys)
    for words in (
        "no step had ended for 31.5 s in validation",
        "ValueError: bad",
        "loss is nan",
        "memory of the device",
        "SIGTERM",
        "the standstill at step 815 ended after 99.0 s",
        "slow step 7",
        "no memory snapshot: there is no allocator",
    ):
        assert words in text


def test_a_file_that_no_event_tells_of_counts_and_none_counts_twice(facts):
    folder = facts(
        SLOW,
        files=(
            "1700000000_slow_step.rank0.json",
            "1700000009_hang.rank1.json",
            "stuck.rank0.txt",
            "empty_stuck.rank0.txt",
            ".1700000009_hang.rank1.json.77.tmp",
        ),
    )
    found = compute_black_boxes(load_run([folder])).files
    told = [(each.reason, each.rank, each.step) for each in found]
    assert set(told) == {("slow_step", 0, 812), ("hang", 1, None), ("stuck", 0, None)}
    assert len(told) == 3


def test_the_json_report_has_the_same(facts):
    page = json.loads(to_json(build_report(load_run([facts(SLOW)]))))
    (each,) = page["black_box"]["files"]
    assert (each["reason"], each["step"], each["values"]["ratio"]) == ("slow_step", 812, 3.1)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"reason": 3, "file": 4, "at_step": "x", "where": 1e300},
        {"reason": "slow_step", "at_step": 1e300, "ratio": "much", "rank": "r", "step": "s"},
        {"reason": "hang", "waited_s": None, "span": "\x1b[2J"},
    ],
)
def test_hostile_events_break_nothing(facts, capsys, values):
    folder = facts(event("black_box_written", **values), event("hang_ended", seconds="long"))
    text = shown(folder, capsys)
    assert "Black box: 1 written" in text
    assert "\x1b[2J" not in text


def test_a_run_without_a_black_box_says_nothing_of_it(facts, capsys):
    assert "Black box" not in shown(facts(), capsys)
