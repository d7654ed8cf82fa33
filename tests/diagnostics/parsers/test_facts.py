"""A facts folder, whole and damaged."""

import json
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from diagnostics.errors import DiagnosticsError
from diagnostics.parsers.facts import parse_facts, read_meta
from tests.diagnostics.factories import (
    RUN_ID,
    make_run,
    resource_line,
    stage_lines,
    step_lines,
    write_facts,
    write_lines,
    write_meta,
)


def test_a_whole_folder(tmp_path):
    run = make_run(20, num_ranks=2, validations=(10,))
    facts = parse_facts(write_facts(tmp_path, run))
    tables = facts.tables
    assert facts.notes == ()
    assert facts.meta.run_id == RUN_ID
    assert facts.ranks == (0, 1)
    assert len(tables.steps) == 40
    assert set(tables.steps.loc[tables.steps["is_tagged"], "step"]) == {1}
    assert set(tables.stages.loc[tables.stages["is_tagged"], "step"]) == {1}
    assert len(tables.phases) == 40 * 8
    assert list(tables.validations["input_psnr_rgb_db"]) == [27.2]
    assert tables.steps["device_allocated_bytes"].isna().all()
    assert tables.steps["process_rss_bytes"].min() == 10**9 + 10**6


def test_resources(tmp_path):
    write_facts(tmp_path, make_run(3))
    write_lines(tmp_path / "resources.box.jsonl", [resource_line(1e9, [5, 6], cpu_percent=50.0)])
    facts = parse_facts(tmp_path)
    assert facts.gpus_absent_reason == "no NVIDIA GPU"
    assert list(facts.tables.processes["rss_bytes"]) == [5, 6]
    assert list(facts.tables.host["host"]) == ["box"]
    assert facts.tables.host["disk_read_bytes"].isna().all()
    assert not len(facts.tables.gpus)


def test_order_of_lines_and_files_does_not_matter(tmp_path):
    run = make_run(20, num_ranks=2)
    write_facts(tmp_path / "one", run)
    write_meta(tmp_path / "two", run)
    for rank in (1, 0):
        both = step_lines(run, rank) + stage_lines(run, rank)
        random.Random(rank).shuffle(both)
        write_lines(tmp_path / "two" / f"spans.rank{rank}.jsonl", both)
    one, two = parse_facts(tmp_path / "one").tables, parse_facts(tmp_path / "two").tables
    assert_frame_equal(one.steps, two.steps)
    assert_frame_equal(one.phases, two.phases)
    assert_frame_equal(one.stages, two.stages)


def test_a_cut_last_line_is_dropped_and_said(tmp_path):
    write_facts(tmp_path, make_run(20))
    path = tmp_path / "steps.rank0.jsonl"
    path.write_text(path.read_text()[:-30])
    facts = parse_facts(tmp_path)
    assert len(facts.tables.steps) == 19
    assert facts.notes == (
        "steps.rank0.jsonl: the last line has no end; it may be cut and was left out",
    )


def test_unknown_keys_are_ignored(tmp_path):
    run = make_run(5)
    write_meta(tmp_path, run, new_key={"a": [1]})
    lines = [json.dumps({**json.loads(line), "new": [{}]}) for line in step_lines(run, 0)]
    write_lines(tmp_path / "steps.rank0.jsonl", lines)
    facts = parse_facts(tmp_path)
    assert facts.notes == ()
    assert len(facts.tables.steps) == 5


def change(**values):
    return lambda body: json.dumps({**body, **values})


DAMAGES = {
    "not JSON": lambda body: "{'step': 1}",
    "no object": lambda body: "[1, 2]",
    "deep": lambda body: '{"kind":"step","x":' + "[" * 200_000 + "]" * 200_000 + "}",
    "NaN": lambda body: json.dumps({**body, "loss": float("nan")}),
    "infinity": lambda body: json.dumps(body).replace('"lr": 0.0001', '"lr": 1e999'),
    "negative step": change(step=-1),
    "step of a million digits": lambda body: '{"kind":"step","step":' + "9" * 500_000 + "}",
    "text for a number": change(start_unix_s="now"),
    "negative time": change(host_ms={"step": -1.0}),
    "a list for a dict": change(host_ms=[1]),
    "unknown kind": change(kind="new"),
    "other schema": change(schema=2),
    "too long": lambda body: json.dumps({**body, "x": "y" * (1 << 20)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_left_out_and_counted(tmp_path, damage):
    run = make_run(10)
    write_facts(tmp_path, run)
    lines = step_lines(run, 0)
    lines[4] = DAMAGES[damage](json.loads(lines[4]))
    write_lines(tmp_path / "steps.rank0.jsonl", lines)
    facts = parse_facts(tmp_path)
    assert sorted(facts.tables.steps["step"]) == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert len(facts.notes) == 1
    assert facts.notes[0].startswith("steps.rank0.jsonl: 1 ")


def test_a_step_twice_counts_once(tmp_path):
    run = make_run(10)
    write_facts(tmp_path, run)
    lines = step_lines(run, 0)
    write_lines(tmp_path / "steps.rank0.jsonl", [*lines, lines[-1]])
    facts = parse_facts(tmp_path)
    assert len(facts.tables.steps) == 10
    assert "1 row of steps was there twice; the last counts" in facts.notes


def test_an_odd_meta_is_noted_and_the_steps_are_read(tmp_path):
    write_facts(tmp_path, make_run(5))
    for text in ("{", "[]", "", '{"schema": 1}', '{"schema": 1, "run_id": 5}', "[" * 100_000):
        (tmp_path / "meta.json").write_text(text)
        facts = parse_facts(tmp_path)
        assert facts.meta is None
        assert len(facts.tables.steps) == 5
        assert "what it says about the run is unknown" in facts.notes[0]


def test_a_pipe_as_meta_is_not_waited_for(tmp_path):
    write_facts(tmp_path, make_run(5))
    (tmp_path / "meta.json").unlink()
    os.mkfifo(tmp_path / "meta.json")
    writer = os.open(tmp_path / "meta.json", os.O_RDWR)  # were it opened, it would give this
    os.write(writer, b"not JSON")
    try:
        facts = parse_facts(tmp_path)
    finally:
        os.close(writer)
    assert "it is not a plain file" in facts.notes[0]
    assert len(facts.tables.steps) == 5


def test_another_schema_is_one_clear_line(tmp_path):
    write_facts(tmp_path, make_run(5))
    write_meta(tmp_path, make_run(5), schema=2)
    with pytest.raises(DiagnosticsError, match="schema 2; this version reads schema 1"):
        parse_facts(tmp_path)
    with pytest.raises(DiagnosticsError, match="cannot read"):
        read_meta(tmp_path / "gone")


def test_a_killed_run_before_its_first_step(tmp_path):
    write_meta(tmp_path, make_run(1), status="running")
    facts = parse_facts(tmp_path)
    assert facts.meta.status == "running"
    assert not len(facts.tables.steps)
    assert "before its first step" in facts.notes[0]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(
    key=st.sampled_from(
        ["kind", "step", "start_unix_s", "host_ms", "device_ms", "tags", "memory", "loss", "clock"]
    ),
    value=JSON_VALUES,
    junk=st.binary(max_size=40),
)
def test_no_line_raises_anything(tmp_path_factory, key, value, junk):
    folder = tmp_path_factory.mktemp("fuzz")
    run = make_run(3)
    write_meta(folder, run)
    lines = [line.encode() for line in step_lines(run, 0)]
    lines[1] = json.dumps({**json.loads(lines[1]), key: value}).encode()
    (folder / "steps.rank0.jsonl").write_bytes(b"\n".join([*lines, junk, b""]))
    facts = parse_facts(folder)
    assert len(facts.tables.steps) in (1, 2, 3)
