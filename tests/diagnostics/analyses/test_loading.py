"""Laws of the loader's analysis: parts sum, order is nothing, what is missing is said."""

import random

import pytest

from diagnostics.analyses.loading import compute_loading
from diagnostics.analyses.step_breakdown import compute_step_breakdown
from diagnostics.load import load_run
from diagnostics.loading_tables import COPIES, FETCHES, LOADING
from diagnostics.run import FACTS, Run, RunInfo, RunTables
from tests.diagnostics.factories import log_lines, make_run, write_facts, write_lines

PARTS = ("read", "decode", "voxelise", "augment", "collate", "other")


def run_of(fetches=(), parts=(), copies=()):
    """Rows as (rank, step, is_tagged, ...) in the declared order."""
    tables = RunTables(
        fetches=FETCHES.from_rows(fetches),
        loading=LOADING.from_rows(parts),
        copies=COPIES.from_rows(copies),
    )
    return Run(inputs=(), info=RunInfo(), evidence=FACTS, tables=tables)


def made_rows(num_steps=12, workers=3, seed=0):
    """Fetches by turns of the workers, and parts that sum to their making; step 1 is tagged."""
    rng = random.Random(seed)
    fetches, parts = [], []
    for step in range(1, num_steps + 1):
        spent = {name: rng.uniform(1, 20) for name in PARTS}
        if step == 1:
            spent = dict.fromkeys(PARTS, 1000.0)
        head = (0, step, step == 1)
        made_ms = sum(spent.values())
        worker = step % workers if workers else None
        queued_ms = 5.0 if workers else None
        ready = (step * 7) % 4 if workers else None
        fetches.append((*head, 0, 2.0, ready, worker, 2, made_ms, queued_ms, 0))
        parts += [(*head, name, ms) for name, ms in spent.items()]
    return fetches, parts


def test_parts_sum_to_the_making(tmp_path):
    fetches, parts = made_rows()
    found = compute_loading(run_of(fetches, parts))
    assert sum(part.share for part in found.parts) == pytest.approx(1)
    of_a_sample = sum(part.ms_per_sample for part in found.parts)
    assert of_a_sample * 2 == pytest.approx(found.made.mean_ms)
    assert (found.num_fetches, found.num_samples, found.made.count) == (11, 22, 11)
    assert found.made.mean_ms < 200  # the tagged step's 6 s are left out
    shares = [part.share for part in found.parts]
    assert shares == sorted(shares, reverse=True)
    assert found.reasons == ()


def test_the_order_of_workers_and_lines_changes_nothing():
    fetches, parts = made_rows()
    expected = compute_loading(run_of(fetches, parts))
    shuffled = random.Random(3)
    shuffled.shuffle(fetches)
    shuffled.shuffle(parts)
    found = compute_loading(run_of(fetches, parts))
    assert [part.name for part in found.parts] == [part.name for part in expected.parts]
    assert found.queue == expected.queue
    assert found.supply_ms == pytest.approx(expected.supply_ms)
    assert [(each.worker, each.num_batches) for each in found.workers] == [
        (each.worker, each.num_batches) for each in expected.workers
    ]


def test_the_rest_is_never_called_the_bottleneck():
    head = (0, 2, False)
    fetch = (*head, 0, 1.0, None, None, 1, 100.0, None, None)
    rows = [(*head, "other", 70.0), (*head, "read", 10.0), (*head, "decode", 20.0)]
    found = compute_loading(run_of([fetch], rows))
    assert (found.parts[0].name, found.bottleneck) == ("other", "decode")


@pytest.mark.parametrize(("workers", "share"), [(0, 1), (1, 1), (3, 3)])
def test_processes_of_a_rank_share_the_making(workers, share):
    fetches, parts = made_rows(workers=workers)
    found = compute_loading(run_of(fetches, parts))
    assert found.supply_ms == pytest.approx(found.made.mean_ms / share)
    assert [each.worker for each in found.workers] == (list(range(workers)) or [None])
    two_ranks = [(1, *row[1:]) for row in fetches] + fetches
    assert compute_loading(run_of(two_ranks, parts)).supply_ms == pytest.approx(found.supply_ms)


def test_the_queue_is_counted_by_depth():
    rows = [
        (0, step, False, 0, 1.0, ready, 0, 1, 5.0, 1.0, None)
        for step, ready in enumerate((0, 0, 1, 3, 3, 3, 2, None), start=2)
    ]
    queue = compute_loading(run_of(rows)).queue
    assert queue.fetches_by_ready == {0: 2, 1: 1, 2: 1, 3: 3}
    assert queue.num_fetches == 7  # where it was told
    assert queue.empty_share == pytest.approx(2 / 7)
    assert (queue.median_ready, queue.mean_ready) == (2, pytest.approx(12 / 7))
    assert sum(queue.fetches_by_ready.values()) == queue.num_fetches


def test_what_is_missing_is_none_and_said():
    nothing = compute_loading(run_of())
    assert (nothing.made, nothing.queue, nothing.copies, nothing.parts) == (None, None, None, ())
    assert "nothing watched the loader" in nothing.reasons[0]
    untimed = (0, 2, False, 0, 1.0, None, None, None, None, None, None)
    found = compute_loading(run_of([untimed]))
    assert found.wait.mean_ms == 1.0
    assert (found.made, found.queued, found.supply_ms, found.bottleneck) == (None,) * 4
    assert "carry no timing" in found.reasons[0]
    timed = (0, 3, False, 0, 1.0, 1, 0, 2, 50.0, 5.0, None)
    found = compute_loading(run_of([untimed, timed], [(0, 3, False, "read", 30.0)]))
    assert found.reasons == (
        "1 of 2 fetched batches carry no timing",
        "the parts of loading sum to 30.0 of 50.0 ms",
    )


def test_pinned_bytes_are_a_share_of_all():
    rows = [(0, step, step == 1, 100.0, 100.0 if step == 1 else 25.0) for step in (1, 2, 3)]
    copies = compute_loading(run_of(copies=rows)).copies
    assert (copies.num_steps, copies.bytes_per_step, copies.pinned_share) == (2, 100.0, 0.25)
    assert compute_loading(run_of(copies=[(0, 2, False, 0.0, 0.0)])).copies.pinned_share is None


# The wait as the step sees it -------------------------------------------------------------------


def data_of(run):
    breakdown = compute_step_breakdown(run)
    return breakdown.data_against_compute, " ".join(breakdown.reasons)


def test_exposed_and_hidden_sum_to_the_hosts_wait(tmp_path):
    data, _ = data_of(load_run([write_facts(tmp_path / "a", make_run(clock="device"))]))
    assert 0 < data.data_wait_hidden_ms <= 1
    parts_ms = data.data_wait_exposed_ms + data.data_wait_hidden_ms
    assert parts_ms == pytest.approx(data.data_wait_ms)


def test_on_a_cpu_the_whole_wait_is_exposed(tmp_path):
    data, reasons = data_of(load_run([write_facts(tmp_path / "a", make_run())]))
    assert data.data_wait_exposed_ms == data.data_wait_ms
    assert data.data_wait_hidden_ms == 0
    assert "hid" not in reasons


def test_hidden_is_never_negative(tmp_path):
    """Events may see a wait a little longer than the host does."""
    run = load_run([write_facts(tmp_path / "a", make_run(clock="device"))])
    phases = run.tables.phases
    is_wait = (phases["name"] == "data_wait") & (phases["clock"] == "device")
    phases.loc[is_wait, "ms"] = 50.0
    data, _ = data_of(run)
    assert data.data_wait_exposed_ms == 50.0
    assert data.data_wait_hidden_ms == 0


def test_a_gpu_timed_by_the_host_alone_cannot_tell(tmp_path):
    made = make_run(meta={"device": {"type": "cuda"}})
    data, reasons = data_of(load_run([write_facts(tmp_path / "a", made)]))
    assert data.data_wait_ms > 0
    assert (data.data_wait_exposed_ms, data.data_wait_hidden_ms) == (None, None)
    assert "cannot be told" in reasons


def test_the_log_of_a_gpu_run_tells_both(tmp_path):
    """Its step lines hold the host's wait, its stage lines the device's."""
    lines = log_lines(make_run(clock="device"))
    data, _ = data_of(load_run([write_lines(tmp_path / "a.log", lines)]))
    assert 0 < data.data_wait_exposed_ms < data.data_wait_ms
    assert data.data_wait_hidden_ms == data.data_wait_ms - data.data_wait_exposed_ms
