"""Texts that remember what they were made of, so that they can be said in another language."""

from collections.abc import Iterable, Mapping
from typing import Any

from diagnostics.language.counts import filled


class Sentence(str):
    """An English text, with the template and the values that made it.

    It is a string like any other: it compares, sorts, hashes and prints as its English text.
    Pickling and copying keep template and values; an f-string around it, `+` and `join` do not.
    """

    template: str
    values: Mapping[str, Any]

    def __new__(cls, template: str, values: Mapping[str, Any]) -> "Sentence":
        """Fill the template; its fields are plain names."""
        made = super().__new__(cls, filled(template, values))
        made.template = template
        made.values = values
        return made

    def __str__(self) -> str:
        return self  # `str(error)` of an exception that was given a sentence stays one

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.template, self.values)


class Listing(Sentence):
    """Several texts with a separator between them, which languages write differently."""

    parts: tuple[str, ...]

    def __new__(cls, separator: str, parts: tuple[str, ...]) -> "Listing":
        """Join the parts; the separator takes the template's place."""
        made = str.__new__(cls, separator.join(parts))
        made.template = separator
        made.parts = parts
        made.values = {}
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.template, self.parts)


def say(template: str, /, **values: Any) -> str:
    """A text with values: `say("{share:.0%} of the step", share=0.25)`.

    The template is a constant, never text from a file, and its fields are plain names with a format
    at most. What it gives is a `Sentence`. A value that is itself a sentence, or a constant with a
    translation, is translated too.
    """
    return Sentence(template, values)


def listed(parts: Iterable[str], separator: str = ", ") -> str:
    """What `separator.join(parts)` gives, each part and the separator in the reader's language.

    A blank separates whole sentences; Chinese has none between them.
    """
    return Listing(separator, tuple(parts))
