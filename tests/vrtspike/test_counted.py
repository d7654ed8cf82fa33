"""Counts and their nouns in the trainer's own lines."""

import re
from pathlib import Path

import pytest

import vrtspike
from vrtspike.counted import counted, counted_with_verb

FORMS = re.compile(r"""["'][^"']*[a-z]\((?:s|es)\)[^"']*["']""")


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 micro-batches"), (1, "1 micro-batch"), (2, "2 micro-batches")]
)
def test_a_noun_follows_its_count(count, said):
    assert counted(count, "micro-batch", "micro-batches") == said


def test_so_does_the_verb():
    assert counted_with_verb(1, "clip") == "1 clip is"
    assert counted_with_verb(0, "clip") == "0 clips are"
    assert counted_with_verb(2, "file", "was", "were") == "2 files were"


def test_no_line_of_the_trainer_leaves_the_form_to_its_reader():
    """The tools' own texts are said by count (diagnostics.language.counts); the trainer's not."""
    found = [
        f"{path.name}: {line.strip()}"
        for path in Path(vrtspike.__file__).parent.rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if FORMS.search(line)
    ]
    assert not found
