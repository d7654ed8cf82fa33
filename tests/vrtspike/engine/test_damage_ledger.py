"""The count of damaged samples: named once, judged over all ranks, an epoch at a time."""

import pytest

from vrtspike.data.damage import DAMAGE, Damage
from vrtspike.engine.damage_ledger import MAX_LINES, DamageLedger, Telling
from vrtspike.errors import DataError


class Heard:
    def __init__(self):
        self.lines, self.events = [], []

    @property
    def telling(self):
        return Telling(self.lines.append, lambda name, **values: self.events.append((name, values)))


def batch(*numbers, reason="a.png: cut short"):
    return {DAMAGE: tuple(Damage("train", n, reason, n + 1) for n in numbers)}


def test_a_damaged_file_is_told_once_and_counted_each_time():
    heard = Heard()
    ledger = DamageLedger("train", 100, 0.1, heard.telling)
    ledger.note({})
    ledger.note(batch(3, 4))
    ledger.note(batch(5))
    assert ledger.count == 3
    (line,) = heard.lines
    assert line == "[data] damaged sample 3 of split 'train' replaced by sample 4: a.png: cut short"
    values = {"split": "train", "sample": 3, "replaced_by": 4, "reason": "a.png: cut short"}
    assert heard.events == [("damaged_sample", values)]


def test_an_epoch_ends_with_its_count_and_the_next_begins_with_none():
    heard = Heard()
    ledger = DamageLedger("train", 8, 0.5, heard.telling)
    ledger.conclude()
    assert heard.lines == []
    ledger.judge(2)
    ledger.conclude()
    assert heard.lines == [
        "[data] 2 of 8 samples of split 'train' were damaged (25.00%; the run stops above 50.00%)"
    ]
    assert heard.events[0][1]["count"] == 2
    ledger.note(batch(1))
    ledger.begin(0)
    assert (ledger.count, ledger.total) == (1, 2)
    ledger.begin(1)
    assert (ledger.count, ledger.total) == (0, 0)


def test_above_the_share_the_run_ends_with_one_line():
    ledger = DamageLedger("train", 100, 0.02, Heard().telling)
    ledger.note(batch(3))
    ledger.judge(2)
    words = r"3 of the 100 samples .* DATA\.MAX_BAD_SHARE=0\.02 allows; first: a\.png: cut"
    with pytest.raises(DataError, match=words):
        ledger.judge(3)
    other = DamageLedger("train", 100, 0.02, Heard().telling)
    with pytest.raises(DataError, match="the facts of the other ranks name them"):
        other.judge(3)


def test_the_log_names_so_many_files_and_the_facts_the_rest():
    heard = Heard()
    ledger = DamageLedger("train", 1000, 0.5, heard.telling)
    for number in range(MAX_LINES + 5):
        ledger.note(batch(number, reason=f"{number}.png: cut short"))
    assert len(heard.lines) == MAX_LINES + 1
    assert heard.lines[-1] == "[data] further damaged files are named in the facts only"
    assert len(heard.events) == MAX_LINES + 5


def test_a_run_that_goes_on_counts_from_where_it_was():
    ledger = DamageLedger("train", 100, 0.02, Heard().telling, count=2, epoch=4)
    ledger.begin(4)
    ledger.note(batch(3))
    assert ledger.count == 3
