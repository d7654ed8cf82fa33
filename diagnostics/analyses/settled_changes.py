"""From advice to one set of changes: what a new configuration must say so that the run fits.

Changes of a forecast come first, since a run that does not fit never gets to be fast; then those
of the guide's limits. Each round is forecast again, because one change alters what the next needs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from diagnostics.analyses.memory_demand import Setting, SettingChange

MAX_ROUNDS = 8


class Judged(Protocol):
    """A forecast with what it advises."""

    def needed(self) -> Iterable[SettingChange]:
        """Changes without which the run does not fit, or only just."""
        ...

    def advised(self) -> Iterable[SettingChange]:
        """Other changes that a warning asks for."""
        ...


J = TypeVar("J", bound=Judged)


@dataclass(frozen=True, kw_only=True)
class Settled(Generic[J]):
    """The last forecast, and all changes that led to it, each with the value it began with."""

    judged: J
    changes: tuple[SettingChange, ...]


def settle(first: J, ask: Callable[[Sequence[SettingChange]], J]) -> Settled[J]:
    """Apply changes and forecast again until nothing is asked for any more.

    A key that a forecast has lowered is not raised again by other advice, so that the two cannot
    chase each other.

    Args:
        first: the forecast of the configuration as it is.
        ask: the forecast with changes.
    """
    judged, made, fixed = first, dict[str, SettingChange](), set[str]()
    for _ in range(MAX_ROUNDS):
        needed = _one_each(judged.needed())
        wanted = needed or {
            key: change for key, change in _one_each(judged.advised()).items() if key not in fixed
        }
        new = {key: change for key, change in wanted.items() if not _is_made(made, change)}
        if not new:
            break
        fixed.update(needed)
        for key, change in new.items():
            current = made[key].current if key in made else change.current
            made[key] = SettingChange(key=key, current=current, proposed=change.proposed)
        judged = ask(tuple(made.values()))
    return Settled(judged=judged, changes=tuple(made.values()))


def _one_each(changes: Iterable[SettingChange]) -> dict[str, SettingChange]:
    """Of several proposals for one key the one that asks for the least memory: the smaller."""
    found: dict[str, SettingChange] = {}
    for change in changes:
        other = found.get(change.key)
        if other is None or _is_less(change.proposed, other.proposed):
            found[change.key] = change
    return found


def _is_less(value: Setting, other: Setting) -> bool:
    numbers = [each for each in (value, other) if isinstance(each, int | float)]
    return len(numbers) == 2 and numbers[0] < numbers[1]


def _is_made(made: dict[str, SettingChange], change: SettingChange) -> bool:
    return change.key in made and made[change.key].proposed == change.proposed


def spelled(changes: Iterable[SettingChange]) -> Iterator[str]:
    """`KEY.PATH=VALUE`, as on a command line."""
    for change in changes:
        yield f"{change.key}={setting_text(change.proposed)}"


def setting_text(value: Setting) -> str:
    """A value as YAML spells it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
