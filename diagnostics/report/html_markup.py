"""Elements of an HTML page. Text is escaped unless it is markup: there is no other way in."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from diagnostics.language import spoken
from diagnostics.printable import printable

MAX_TEXT = 2000
"""Longer text is cut in the middle: a name from a trace may have megabytes."""

_CODE = re.compile(r"`([^`]+)`")

Attribute: TypeAlias = str | int | float | bool | Sequence[str] | None
_CHILDLESS = frozenset({"meta", "rect", "line", "path", "circle"})


class Markup(str):
    """Text that is markup already; made by this module's functions and from constants only."""

    __slots__ = ()


Child: TypeAlias = "str | Markup | Iterable[Child] | None"


def text(value: str) -> Markup:
    """Plain text as markup, in the reader's language.

    It is escaped, and its control and bidirectional characters are made visible.
    """
    return _escaped(spoken(value))


def _escaped(value: str) -> Markup:
    return Markup(html.escape(printable(value, limit=MAX_TEXT), quote=True))


def prose(value: str) -> Markup:
    """Text in which `backquotes` enclose what is typed or stands in a file."""
    pieces = _CODE.split(text(value))
    return Markup("".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(pieces)))


def element(tag: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An element; `tag` and the attributes' names are constants of the program, never input.

    A trailing underscore of an attribute's name is dropped (`class_`), others become hyphens.
    An attribute that is None or False is left out; True stands there without a value; several words
    are joined by blanks. One that people read is given as `text`.
    """
    start = f"<{tag}{''.join(_attribute(*each) for each in attributes.items())}"
    if tag in _CHILDLESS and not children:
        return Markup(f"{start}/>")
    return Markup(f"{start}>{join(*children)}</{tag}>")


def join(*children: Child) -> Markup:
    """The children one after the other; plain text among them is escaped."""
    return Markup("".join(_rendered(child) for child in children))


def _rendered(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, str):
        return child if isinstance(child, Markup) else text(child)
    return join(*child)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    spelled = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {spelled}"
    if isinstance(value, int | float):
        return f' {spelled}="{number(value)}"'
    if not isinstance(value, str):
        value = " ".join(each for each in value if each)
    return f' {spelled}="{value if isinstance(value, Markup) else _escaped(value)}"'


def number(value: float) -> str:
    """A coordinate: two decimals are a hundredth of a pixel."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
