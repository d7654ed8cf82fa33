"""The translations of one language, read from its YAML files.

A file is a list of pairs `en` and its translation, keyed by the language: texts as the source
spells them, templates with their fields.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Formatter
from typing import Any

from diagnostics.language.counts import filled
from diagnostics.language.sentence import Listing, Sentence

FOREIGN = "foreign.yaml"
"""Templates of texts that other programs made: recognised by what stands between their fields."""
MAX_FOREIGN_CHARACTERS = 1000
_WIDE = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uff60]"
_BETWEEN_WIDE = re.compile(f"(?<={_WIDE}) (?={_WIDE})")
"""A blank around a field is for values in Latin letters; Chinese ones stand without."""


@dataclass(frozen=True)
class ForeignText:
    """A text of another program: the constant pieces in order, and the fields between them."""

    pieces: tuple[str, ...]
    fields: tuple[str, ...]
    translation: str

    def values_in(self, text: str) -> dict[str, str] | None:
        """What stands in each field, each as short as can be; None if the text is another one."""
        if not self.fields or not text.startswith(self.pieces[0]):
            return None
        values, start = {}, len(self.pieces[0])
        for field, piece in zip(self.fields, self.pieces[1:], strict=True):
            is_last = field == self.fields[-1]
            end = (len(text) - len(piece)) if is_last else text.find(piece, start)
            if end < start or not text.startswith(piece, end):
                return None
            values[field] = text[start:end]
            start = end + len(piece)
        return values


@dataclass(frozen=True)
class Catalogue:
    """A language: translations by English text or template, and texts of other programs."""

    language: str
    texts: Mapping[str, str]
    foreign: tuple[ForeignText, ...]

    def say(self, text: str) -> str:
        """The text in this language; English where it has no translation."""
        if isinstance(text, Listing):
            return self._constant(text.template).join(self.say(part) for part in text.parts)
        if isinstance(text, Sentence):
            values = {name: self._value(value) for name, value in text.values.items()}
            return _BETWEEN_WIDE.sub("", filled(self._constant(text.template), values))
        return self.texts.get(text) or self._foreign(text)

    def _constant(self, text: str) -> str:
        return self.texts.get(text, text)

    def _value(self, value: Any) -> Any:
        """An error in a text stands for its message."""
        return self.say(str(value)) if isinstance(value, str | Exception) else value

    def _foreign(self, text: str) -> str:
        if " " in text and len(text) <= MAX_FOREIGN_CHARACTERS:
            for each in self.foreign:
                values = each.values_in(text)
                if values is not None:
                    spoken = {name: self.say(value) for name, value in values.items()}
                    return _BETWEEN_WIDE.sub("", each.translation.format_map(spoken))
        return text


def read_catalogue(language: str) -> Catalogue:
    """Read all files of a language."""
    texts: dict[str, str] = {}
    foreign: list[ForeignText] = []
    for name, pairs in read_pairs(language):
        if name == FOREIGN:
            foreign += [_foreign_text(english, other) for english, other in pairs]
        texts.update(pairs)
    return Catalogue(language=language, texts=texts, foreign=tuple(foreign))


def read_pairs(language: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The name of each file of a language, with its pairs of English and translation."""
    import yaml  # not before it is needed: English needs none

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    folder = files("diagnostics.language") / language
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".yaml"):
            entries = yaml.load(file.read_text("utf-8"), Loader=loader)
            yield file.name, [(each["en"], each[language]) for each in entries]


def fields_of(template: str) -> Iterable[tuple[str, str | None]]:
    """Constant pieces of a template, each with the field after it, None after the last."""
    return [(text, field) for text, field, _, _ in Formatter().parse(template)]


def _foreign_text(english: str, translation: str) -> ForeignText:
    parts = fields_of(english)
    pieces = [text for text, _ in parts]
    fields = tuple(field for _, field in parts if field is not None)
    if len(pieces) == len(fields):
        pieces.append("")
    return ForeignText(pieces=tuple(pieces), fields=fields, translation=translation)
