"""The first pass over the data apart from what follows, and what storage delivers meanwhile."""

import io
import json

import pandas as pd
import pytest

from diagnostics import loading_tables
from diagnostics import tables as declared
from diagnostics.analyses.data_set import compute_data_set
from diagnostics.analyses.epoch_waits import LEAST_STEPS, compute_epoch_waits
from diagnostics.analyses.run_analysis import analyse_run
from diagnostics.analyses.storage_reads import compute_storage_reads
from diagnostics.analyses.validation_reads import compute_validation_reads
from diagnostics.load import load_run
from diagnostics.parsers.loading_rows import amount
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_json
from diagnostics.report.terminal import render_terminal
from diagnostics.rules.measure import measure
from diagnostics.run import RunInfo
from tests.diagnostics.factories import make_run, phase_rows, run_of, write_facts

SET = {
    "rank": 0,
    "train_samples": 10.0,
    "train_frames": 12.0,
    "frame_reads": 20.0,
    "file_bytes": 1200.0,
    "decoded_bytes": 2400.0,
    "micro_batches_per_epoch": 10.0,
    "micro_batches_per_step": 1.0,
    "first_epoch": 0.0,
    "first_micro_batch": 0.0,
}
MIB = 1 << 20


def set_table(**changes):
    return loading_tables.DATA_SETS.from_records([{**SET, **changes}])


def waits(num_steps=30, first_step=1, wait_of=None, total=None, **changes):
    """Steps of 100 ms and the wait, which is 50 ms in the first ten steps and 1 ms afterwards."""
    wait_of = wait_of or (lambda step: 50.0 if step < first_step + 10 else 1.0)
    numbers = range(first_step, first_step + num_steps)
    rows = [
        row
        for n in numbers
        for row in ((0, n, "data_wait", wait_of(n)), (0, n, "step", 100.0 + wait_of(n)))
    ]
    steps = [
        {"rank": 0, "step": n, "num_steps": 1, "is_tagged": n == first_step, "tags": "",
         "num_tagged": int(n == first_step), "clock": "host", "start_unix_s": float(n)}
        for n in numbers
    ]  # fmt: skip
    run = run_of(
        info=RunInfo(total_steps=total),
        phases=phase_rows(rows, tagged=[first_step]),
        steps=declared.STEPS.from_records(steps),
        data_sets=set_table(**changes),
    )
    return compute_epoch_waits(run, "host")


def test_the_first_epoch_stands_apart_from_those_after_it():
    found = waits(total=60)
    assert (found.first.num_steps, found.later.num_steps) == (9, 20)
    assert (found.first.wait_ms, found.later.wait_ms) == (50.0, 1.0)
    assert (found.first.step_ms, found.later.step_ms) == (150.0, 101.0)
    assert (found.steps_per_epoch, found.first_pass_steps) == (10.0, 10)
    assert (found.steps_planned, found.epochs_planned) == (60, 6.0)


def test_the_parts_together_are_the_whole():
    found = waits(wait_of=lambda step: float(step * step))
    parts = [found.first, found.later]
    whole = sum(part.num_steps * part.wait_ms for part in parts)
    assert whole == pytest.approx(sum(step * step for step in range(2, 31)))


def test_later_epochs_are_judged_once_they_have_some_steps():
    assert waits(num_steps=10 + LEAST_STEPS - 1).later is None
    assert waits(num_steps=10 + LEAST_STEPS).later is not None


def test_accumulation_makes_an_epoch_fewer_steps():
    found = waits(micro_batches_per_step=4.0)
    assert found.steps_per_epoch == 2.5
    assert found.first_pass_steps == 3


def test_a_run_that_goes_on_in_an_epoch_has_read_all_after_the_next_one():
    """Four of ten batches were another run's: they come up in the second epoch."""
    found = waits(first_step=5, num_steps=40, first_micro_batch=4.0, total=44)
    assert found.first_pass_steps == 16
    assert found.later.num_steps == 24
    assert found.steps_planned == 40


@pytest.mark.parametrize(
    "damage", [{"micro_batches_per_epoch": 0.0}, {"micro_batches_per_step": None}]
)
def test_an_epoch_of_unknown_length_is_none(damage):
    assert waits(**damage) is None


def test_a_run_that_did_not_say_has_neither(tmp_path):
    made = make_run()
    analysis = analyse_run(load_run([write_facts(tmp_path / made.run_id, made)]))
    assert (analysis.epoch_waits, analysis.data_set, analysis.storage_reads) == (None, None, None)


def test_frames_that_samples_share_are_read_for_the_first_time_once():
    assert compute_data_set(run_of(data_sets=set_table())).first_read_share == 0.6
    assert compute_data_set(run_of(data_sets=set_table(frame_reads=0.0))).first_read_share is None
    assert compute_data_set(run_of(data_sets=set_table(train_frames=None))).first_read_share is None


def reads(processes, *, fetch_worker=0.0, fetches=4, starts=(100.0, 110.0), validations=()):
    """`processes`: (role, pid, {second: bytes}); the last of two steps lasts ten seconds."""
    rows = [
        {"host": "a", "at_unix_s": at, "pid": pid, "role": role, "name": "x",
         "storage_read_bytes": float(counted)}
        for role, pid, counters in processes
        for at, counted in counters.items()
    ]  # fmt: skip
    steps = [
        {"rank": 0, "step": n, "num_steps": 1, "is_tagged": False, "tags": "", "num_tagged": 0,
         "clock": "host", "start_unix_s": at}
        for n, at in enumerate(starts, 1)
    ]  # fmt: skip
    fetched = [
        {"rank": 0, "step": 1, "is_tagged": False, "number": n, "wait_ms": 1.0, "ready": 0.0,
         "worker": fetch_worker, "samples": 1.0, "made_ms": 1.0, "queued_ms": 1.0}
        for n in range(fetches)
    ]  # fmt: skip
    run = run_of(
        processes=declared.PROCESSES.from_records(rows),
        steps=declared.STEPS.from_records(steps),
        fetches=loading_tables.FETCHES.from_records(fetched),
        phases=phase_rows([(0, 1, "step", 10_000.0), (0, 2, "step", 10_000.0)]),
        spans=declared.SPANS.from_records(
            [
                {
                    "rank": 0,
                    "name": "validation",
                    "step": 1,
                    "start_unix_s": at,
                    "ms": ms,
                    "values": {},
                }
                for at, ms in validations
            ]
        ),
    )
    return compute_storage_reads(run)


def test_what_all_loading_processes_fetch_while_the_run_steps():
    course = {90.0: 0, 100.0: 5 * MIB, 110.0: 7 * MIB, 120.0: 9 * MIB, 130.0: 99 * MIB}
    found = reads([("worker", 1, course), ("worker", 2, course), ("main", 3, {100.0: 0, 120.0: 1})])
    assert found.seconds == 20.0
    assert found.bytes_read == 8 * MIB
    assert found.bytes_per_s == 8 * MIB / 20
    assert found.bytes_per_batch == 2 * MIB


def test_a_trainer_that_makes_its_batches_fetches_itself():
    found = reads([("main", 3, {100.0: 0, 120.0: MIB})], fetch_worker=None)
    assert found.bytes_read == MIB


def test_what_a_validation_fetches_is_no_training_batch():
    in_mib = {100.0: 0, 104.0: 1, 106.0: 9, 110.0: 20, 114.0: 21, 120.0: 22}
    course = {at: size * MIB for at, size in in_mib.items()}
    found = reads([("worker", 1, course)], validations=[(104.0, 6_000.0)])
    assert found.bytes_read == 3 * MIB
    assert found.seconds == 14.0


def test_a_counter_that_fell_is_no_negative_reading():
    assert reads([("worker", 1, {100.0: 0, 110.0: 0, 120.0: 0})]).bytes_per_s == 0.0


def test_a_short_look_says_nothing():
    assert reads([("worker", 1, {100.0: 0, 104.9: MIB})]) is None
    assert reads([("worker", 1, {90.0: 0, 99.0: MIB})]) is None


def validated(processes, spans=((200.0, 10_000.0),)):
    """`processes`: (role, pid, {second: (bytes, CPU percent)})."""
    rows = [
        {"host": "a", "at_unix_s": at, "pid": pid, "role": role, "name": "x",
         "storage_read_bytes": counted, "cpu_percent": percent}
        for role, pid, course in processes
        for at, (counted, percent) in course.items()
    ]  # fmt: skip
    held = [
        {"rank": 0, "name": "validation", "step": 1, "start_unix_s": at, "ms": ms, "values": {}}
        for at, ms in spans
    ]
    return compute_validation_reads(
        run_of(
            processes=declared.PROCESSES.from_records(rows),
            spans=declared.SPANS.from_records(held),
        )
    )


def test_a_validation_is_told_with_what_its_own_processes_fetch():
    """One was there before and had read; the other was started for it."""
    main = {199.0: (5.0 * MIB, 90.0), 205.0: (6.0 * MIB, 10.0), 215.0: (99.0 * MIB, 90.0)}
    own = {203.0: (2.0 * MIB, None), 205.0: (3.0 * MIB, 20.0), 209.0: (4.0 * MIB, 30.0)}
    found = validated([("main", 1, main), ("worker", 2, own), ("sampler", 3, own)])
    assert (found.count, found.seconds) == (1, 10.0)
    assert found.bytes_read == 5 * MIB
    assert found.cores == pytest.approx((0.3 + 0.3) / 2)


def test_validations_too_short_to_be_sampled_are_left_out():
    main = {199.0: (0.0, 90.0), 201.0: (MIB, 10.0), 305.0: (3.0 * MIB, 10.0)}
    assert validated([("main", 1, main)], spans=[(200.0, 1999.0)]) is None
    both = validated([("main", 1, main)], spans=[(200.0, 1999.0), (300.0, 8000.0)])
    assert (both.count, both.bytes_read) == (1, 2 * MIB)


@pytest.fixture
def told(tmp_path):
    """A run of 40 steps whose epochs have 10, as its facts tell."""
    made = make_run(40)
    facts = write_facts(tmp_path / made.run_id, made)
    event = {"schema": 1, "kind": "event", "name": "data_set", "step": 0, "at_unix_s": 1.0}
    values = {key: value for key, value in SET.items() if key != "rank"}
    with (facts / "spans.rank0.jsonl").open("a") as file:
        file.write(json.dumps({**event, "values": {**values, "file_bytes": "damaged"}}) + "\n")
    return load_run([facts])


def test_the_event_reaches_rules_report_and_json(told):
    analysis = analyse_run(told)
    measured = measure(told, analysis)
    assert measured.first_read_share == 0.6
    assert (measured.data_decoded_bytes, measured.data_file_bytes) == (2400.0, None)
    assert measured.first_wait_ms == analysis.epoch_waits.first.wait_ms
    assert measured.later_wait_ms == analysis.epoch_waits.later.wait_ms
    report = build_report(told)
    out = io.StringIO()
    render_terminal(report, out, width=140)
    assert "10 samples of 12 frames, of which an epoch reads 20" in out.getvalue()
    assert "The first epoch's steps waited" in out.getvalue()
    written = json.loads(to_json(report))
    assert written["data_set"]["train_frames"] == 12.0
    assert written["epoch_waits"]["steps_per_epoch"] == 10.0
    assert written["epoch_waits"]["first"]["num_steps"] == 9
    assert written["storage_reads"] is None


@pytest.mark.parametrize("wrong", [-1, -4e9, 1e-320, 0.5, 1e300, "x", None])
def test_what_cannot_be_a_count_or_a_size_is_missing(wrong):
    assert amount(wrong) is None


def test_counts_and_sizes_stay_what_they_are():
    assert [amount(value) for value in (0, 1, 1.5e9)] == [0.0, 1.0, 1.5e9]


def test_rows_of_damaged_events_do_not_break_the_table(told):
    assert len(told.tables.data_sets) == 1
    assert pd.isna(told.tables.data_sets["file_bytes"].iloc[0])
