"""Seeded damage for tests: texts with broken bytes, records with values that nobody expects."""

import json
import random
from collections.abc import Sequence
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, -0.0, 0.5, -7.25, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, 2**63,
    -(2**63) - 1, 10**30, 1e17, 1e18, -1e18, 1e300, -1e300, float("nan"), float("inf"),
    float("-inf"), "", "0", "-3", "nan", "inf", "x" * 3000, "\x1b[31m\x07\r\n\0", "\ud800",
    "rank",
    [], {}, [[]], [None], [1, "a"], {"": None}, {"a": {"a": {}}}, [[[[[[[[]]]]]]]],
)  # fmt: skip
"""Values of every type that JSON has, and three that it has not."""

_TOKENS = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\0", b"\xff", b"\n", b"NaN", b"-")


def damaged_record(record: Any, chance: random.Random) -> Any:
    """A copy in which one value, at any depth, is another, gone, or under another's key."""
    copy = json.loads(json.dumps(record))
    places = list(_places(copy))
    if not places:
        return chance.choice(HOSTILE)
    holder, key = chance.choice(places)
    kind = chance.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        other = chance.choice(list(holder))
        holder[other] = holder.pop(key)
    else:
        holder[key] = chance.choice(HOSTILE)
    return copy


def _places(value: Any) -> Any:
    items = list(value.items()) if isinstance(value, dict) else []
    if isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def damaged_bytes(text: bytes, chance: random.Random) -> bytes:
    """A copy with bytes changed, cut out, doubled, moved, or cut off at the end."""
    found = bytearray(text)
    for _ in range(chance.choice((1, 1, 2, 8, 40))):
        at = chance.randrange(len(found) + 1)
        length = chance.choice((1, 1, 7, 60, 500))
        kind = chance.randrange(6)
        if kind == 0:
            found[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del found[at : at + length]
        elif kind == 2:
            found[at:at] = found[at : at + length]
        elif kind == 3:
            found[at:at] = chance.choice(_TOKENS) * chance.choice((1, 1, 3, 200))
        elif kind == 4:
            source = chance.randrange(len(found) + 1)
            found[at : at + length] = found[source : source + length]
        elif len(found) > 200:
            del found[chance.randrange(len(found)) :]
    return bytes(found)


def damaged_lines(lines: Sequence[str], chance: random.Random) -> list[str]:
    """JSON lines, a few of them damaged, doubled, in another order, or no JSON."""
    found = list(lines)
    for _ in range(chance.choice((1, 1, 3, 10))):
        if not found:
            break
        at = chance.randrange(len(found))
        kind = chance.randrange(8)
        if kind == 0:
            found.insert(at, found[chance.randrange(len(found))])
        elif kind == 1:
            found.pop(at)
        elif kind == 2:
            found[at] = damaged_bytes(found[at].encode(), chance).decode("utf-8", "replace")
        else:
            try:
                record = json.loads(found[at])
            except (ValueError, RecursionError):
                continue
            found[at] = json.dumps(damaged_record(record, chance))
    return found
