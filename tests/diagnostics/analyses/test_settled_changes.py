"""One set of changes from several pieces of advice: memory first, then limits, never in circles."""

from dataclasses import dataclass, field

from diagnostics.analyses.memory_demand import SettingChange
from diagnostics.analyses.settled_changes import MAX_ROUNDS, settle, spelled


def change(key, current, proposed):
    return SettingChange(key=key, current=current, proposed=proposed)


@dataclass
class Made:
    """A run that fits with few workers, and is fast with many."""

    workers: int = 8
    cache: float = 20.0
    most: int = 4
    quick: int = 6
    asked: list = field(default_factory=list)

    def needed(self):
        if self.workers > self.most:
            yield change("W", self.workers, self.most + 1 if self.workers > 6 else self.most)
        if self.cache > 5.0:
            yield change("C", self.cache, 5.0)
            yield change("C", self.cache, 7.0)

    def advised(self):
        if self.workers < self.quick:
            yield change("W", self.workers, self.quick)
        yield change("AMP", False, True)

    def with_changes(self, changes):
        values = {each.key: each.proposed for each in changes}
        self.asked.append(values)
        return Made(
            workers=values.get("W", 8),
            cache=values.get("C", 20.0),
            most=self.most,
            quick=self.quick,
            asked=self.asked,
        )


def test_it_ends_where_everything_fits_with_each_change_from_its_beginning():
    first = Made()
    found = settle(first, first.with_changes)
    assert {each.key: (each.current, each.proposed) for each in found.changes} == {
        "W": (8, 4),
        "C": (20.0, 5.0),
        "AMP": (False, True),
    }
    assert not list(found.judged.needed())
    assert len(first.asked) < MAX_ROUNDS


def test_advice_never_raises_what_memory_lowered():
    first = Made(most=4, quick=7)
    found = settle(first, first.with_changes)
    assert dict(zip(("W",), (c.proposed for c in found.changes if c.key == "W"), strict=True)) == {
        "W": 4
    }


def test_what_fits_and_is_well_is_left_alone():
    class Fine(Made):
        def advised(self):
            return ()

    found = settle(Fine(workers=3, cache=1.0), lambda _: None)
    assert found.changes == ()


def test_advice_that_never_ends_is_left_after_some_rounds():
    class Endless:
        count = 0

        def needed(self):
            Endless.count += 1
            yield change("W", 1, Endless.count)

        def advised(self):
            return ()

    settle(Endless(), lambda _: Endless())
    assert Endless.count == MAX_ROUNDS


def test_changes_are_spelled_as_on_a_command_line():
    changes = [change("A.B", 1, True), change("C", None, 0.5), change("D", 1, None)]
    assert list(spelled(changes)) == ["A.B=true", "C=0.5", "D=null"]
