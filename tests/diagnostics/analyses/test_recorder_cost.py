"""What recording cost: read from the facts, never guessed."""

import json

import pytest

from diagnostics.analyses.recorder_cost import compute_recorder_cost
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_json
from diagnostics.run import TEXT_LOG_ONLY
from tests.diagnostics.factories import log_lines, make_run, step_lines, write_facts, write_lines
from tests.diagnostics.report.test_terminal import text_of


def write(folder, costs, ranks=1, events=(), sampler=(), **meta):
    """A run whose step n cost `costs[n - 1]` ms; the first step is tagged."""
    made = make_run(num_steps=len(costs), num_ranks=ranks, meta=meta)
    write_facts(folder, made)
    for rank in range(ranks):
        lines = [json.loads(line) for line in step_lines(made, rank)]
        for line, cost in zip(lines, costs, strict=True):
            line["recorder_ms"] = cost
        write_lines(folder / f"steps.rank{rank}.jsonl", map(json.dumps, lines))
        spans = folder / f"spans.rank{rank}.jsonl"
        spans.write_text(spans.read_text() + "".join(map(event_line, events)))
    write_lines(folder / "resources.box.jsonl", [sample(n, cpu) for n, cpu in enumerate(sampler)])
    return load_run([folder])


def event_line(event):
    name, step, values = event
    head = {"schema": 1, "kind": "event", "name": name, "step": step, "at_unix_s": 1.7e9}
    return json.dumps({**head, "values": values}) + "\n"


def sample(second, cpu_percent):
    host = {"ram_total_bytes": 10**11, "ram_available_bytes": 10**10, "ram_percent": 1.0}
    process = {"pid": 7, "role": "sampler", "name": "python", "rss_bytes": 10**7}
    process["cpu_percent"] = cpu_percent
    head = {"schema": 1, "kind": "resources", "at_unix_s": 1.7e9 + second}
    return json.dumps({**head, "host": host, "processes": [process]})


def test_the_cost_is_of_ordinary_steps(tmp_path):
    run = write(tmp_path, [900.0, *[0.1] * 9, *[0.3] * 10])
    cost = compute_recorder_cost(run)
    phases = run.tables.phases
    whole = phases[(phases["name"] == "step") & ~phases["is_tagged"]]["ms"].mean()
    assert (cost.count, cost.p95_ms) == (19, 0.3)
    assert cost.mean_ms == pytest.approx((0.9 + 3.0) / 19)
    assert cost.share_of_step == pytest.approx(cost.mean_ms / whole)
    assert cost.stages_every_steps == 1
    assert cost.thinned_from_step is None


@pytest.mark.parametrize("ranks", [1, 3])
def test_bytes_are_those_of_one_rank_and_step(tmp_path, ranks):
    run = write(tmp_path, [0.1] * 20, ranks=ranks)
    size = sum(path.stat().st_size for path in tmp_path.glob("s*.rank*.jsonl"))
    assert compute_recorder_cost(run).bytes_per_step == size / (20 * ranks)


def test_the_samplers_processor_is_a_mean_over_samples(tmp_path):
    run = write(tmp_path, [0.1] * 20, sampler=[None, 1.0, 2.0])
    assert compute_recorder_cost(run).sampler_cpu_percent == 1.5


def test_thinning_is_told_and_its_steps_are_missing_not_zero(tmp_path):
    thinned = ("recording_thinned", 5, {"every_steps": 2, "cost_share": 0.02})
    more = ("recording_thinned", 9, {"every_steps": 4, "cost_share": 0.01})
    over = ("recording_over_budget", 15, {"cost_share": 0.03, "budget_share": 0.005})
    budget = {"PROFILING": {"BUDGET_SHARE": 0.005}}
    run = write(tmp_path, [0.1] * 20, events=(thinned, more, over), config=budget)
    cost = compute_recorder_cost(run)
    assert (cost.stages_every_steps, cost.thinned_from_step) == (4, 5)
    assert (cost.budget_share, cost.over_budget_share) == (0.005, 0.03)
    text = " ".join(text_of(build_report(run), width=200).split())
    assert "stages timed in one of 4 steps at the end, thinned from step 5 on" in text
    assert "still 3.0% of a step when thinned: above PROFILING.BUDGET_SHARE (0.50%)" in text


def test_each_trace_tells_what_it_cost(tmp_path):
    values = {"file": "a", "steps": "5-9", "plain_bytes": 3 * 2**20, "export_ms": 412.3}
    run = write(tmp_path, [0.1] * 20, ranks=2, events=[("profile_written", 9, values)])
    traces = compute_recorder_cost(run).traces
    assert [trace.rank for trace in traces] == [0, 1]
    assert (traces[0].steps, traces[0].plain_bytes, traces[0].export_ms) == (
        "5-9",
        3 * 2**20,
        412.3,
    )
    text = text_of(build_report(run), width=200)
    assert "trace of steps 5-9 of rank 1: 3.00 MiB before compression, exported in 412.3 ms" in text


def test_a_stage_of_unobserved_steps_keeps_its_mean_and_its_share(tmp_path):
    """Every second record of stages is taken away: the mean is of those that are there."""
    made = make_run(num_steps=20)
    whole = build_report(load_run([write_facts(tmp_path / "all", made)])).analysis.breakdown
    folder = write_facts(tmp_path / "half", made)
    spans = folder / "spans.rank0.jsonl"
    spans.write_text("".join(spans.read_text().splitlines(keepends=True)[1::2]))
    half = build_report(load_run([folder])).analysis.breakdown
    for name in ("flow", "vrt.stage1"):
        full, thinned = whole.stage(name), half.stage(name)
        assert thinned.count == 10
        assert thinned.mean_ms == pytest.approx(full.mean_ms, rel=0.2)
        assert thinned.share_of_forward == pytest.approx(full.share_of_forward)
    assert all(closure.holds for closure in half.closures)
    assert half.step == whole.step


def test_facts_of_an_older_version_say_that_the_cost_is_unknown(tmp_path):
    run = load_run([write_facts(tmp_path, make_run())])
    cost = compute_recorder_cost(run)
    assert (cost.count, cost.mean_ms, cost.share_of_step, cost.stages_every_steps) == (
        0,
        None,
        None,
        None,
    )
    assert cost.bytes_per_step > 0
    assert "the recorder itself: not stated by these facts" in text_of(build_report(run))


def test_json_holds_the_cost_and_nothing_for_a_text_log(tmp_path):
    page = json.loads(to_json(build_report(write(tmp_path / "facts", [0.2] * 20))))
    assert page["recorder_cost"]["mean_ms"] == pytest.approx(0.2)
    run = load_run([write_lines(tmp_path / "alone.log", log_lines(make_run()))])
    assert run.evidence == TEXT_LOG_ONLY
    assert json.loads(to_json(build_report(run)))["recorder_cost"] == {}


@pytest.mark.parametrize("bad", ["4", None, -1, 1e300, True])
def test_hostile_values_of_an_event_do_no_harm(tmp_path, bad):
    thinned = ("recording_thinned", 5, {"every_steps": bad, "cost_share": bad})
    over = ("recording_over_budget", 15, {"cost_share": bad})
    trace = ("profile_written", 15, {"steps": bad, "plain_bytes": bad, "export_ms": bad})
    run = write(tmp_path, [0.1] * 20, events=(thinned, over, trace), config={"PROFILING": [1]})
    cost = compute_recorder_cost(run)
    assert cost.stages_every_steps == 1
    text_of(build_report(run))
