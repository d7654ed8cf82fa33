"""Where lines of text with wide letters may break, such as Chinese, which has no blanks."""

import re
from collections.abc import Iterator
from unicodedata import combining, east_asian_width

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60"
_OPENING = "（《「【"
_CLOSING = "，。；：、！？）》」】…"
_UNIT = re.compile(rf"[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}]+|)[{_CLOSING}]*\s*")
_HAS_WIDE = re.compile(f"[{_WIDE}]")


def has_wide_letters(text: str) -> bool:
    """Whether a line of this text may break without a blank."""
    return _HAS_WIDE.search(text) is not None


def columns_of(text: str) -> int:
    """How many columns of a terminal the text takes; a wide letter takes two."""
    return sum(
        0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in text
    )


def units_of(text: str) -> list[str]:
    """The pieces that no line break parts, with the blanks after them."""
    return [unit for unit in _UNIT.findall(text) if unit]


def breaks_of(text: str, width: int) -> Iterator[int]:
    """Where lines begin, after the first; a word wider than `width` columns is cut."""
    start, used = 0, 0
    for unit in units_of(text):
        is_too_wide = columns_of(unit.rstrip()) > width
        for piece in unit if is_too_wide else [unit]:
            if used and used + columns_of(piece.rstrip()) > width:
                yield start
                used = 0
            used += columns_of(piece)
            start += len(piece)
