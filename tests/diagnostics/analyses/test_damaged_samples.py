"""Damaged samples: files once, the worst pass of each split, and silence where nobody said."""

from io import StringIO

from diagnostics import tables as declared
from diagnostics.analyses.damaged_samples import compute_damaged_samples
from diagnostics.report.console import make_console, print_parts
from diagnostics.report.terminal_damage import MAX_FILES, damage_part
from diagnostics.rules.measure_damage import damage_fields
from diagnostics.run import TEXT_LOG_ONLY, RunInfo
from tests.diagnostics.factories import run_of


def events(*named):
    rows = [(0, name, 1, 1.0, values, "spans.rank0.jsonl") for name, values in named]
    return declared.EVENTS.from_rows(rows)


def counted(count, split="train", samples=100, max_share=0.1):
    values = {"split": split, "count": count, "samples": samples, "max_share": max_share}
    return "damaged_samples", values


def shown(found) -> str:
    stream = StringIO()
    print_parts(make_console(stream, 100, color=False), damage_part(found))
    return stream.getvalue()


def test_files_are_named_once_and_the_worst_pass_counts():
    cut = ("damaged_sample", {"reason": "a.png: cut short"})
    run = run_of(events=events(cut, cut, counted(3), counted(5), counted(1, "val", 4)))
    found = compute_damaged_samples(run)
    assert found.files == ("a.png: cut short",)
    assert [(each.split, each.count, each.share) for each in found.splits] == [
        ("train", 5, 0.05),
        ("val", 1, 0.25),
    ]
    assert damage_fields(found) == {
        "num_damaged_files": 1,
        "first_damaged_file": "a.png: cut short",
        "damaged_share": 0.25,
    }
    said = shown(found)
    assert "5 of 100 samples of split 'train' (5.0%; the run stops above 10.0%)." in said
    assert "- a.png: cut short" in said


def test_of_many_files_the_first_are_shown():
    cut = [("damaged_sample", {"reason": f"{n}.png: cut"}) for n in range(MAX_FILES + 3)]
    assert "- and 3 more files" in shown(compute_damaged_samples(run_of(events=events(*cut))))


def test_a_whole_data_set_shows_nothing_and_a_log_says_nothing():
    found = compute_damaged_samples(run_of())
    assert damage_fields(found)["num_damaged_files"] == 0
    assert shown(found) == ""
    assert compute_damaged_samples(run_of(evidence=TEXT_LOG_ONLY)) is None
    assert compute_damaged_samples(run_of(info=RunInfo(trainer="own"))) is None
    assert damage_fields(None) == {}


def test_records_that_cannot_be_are_left_out():
    bad = (
        counted(5, samples=0),
        counted(5, samples=2),
        counted("many"),
        counted(2, split=None),
        ("damaged_sample", {"reason": 7}),
    )
    found = compute_damaged_samples(run_of(events=events(*bad)))
    assert (found.files, found.splits) == ((), ())
    (odd,) = compute_damaged_samples(run_of(events=events(counted(2, max_share="x")))).splits
    assert odd.max_share is None
