"""Every text of the tools has its translation, and no translation outlives its text.

What to do when a test here fails: docs/languages.md.
"""

from collections import Counter
from string import Formatter

import pytest

from diagnostics.language import LANGUAGES
from diagnostics.language.catalogue import FOREIGN, read_pairs
from diagnostics.language.choice import ENGLISH
from tests.diagnostics.language.product_texts import SourceTexts, page_texts, sources

OTHERS = [language for language in LANGUAGES if language != ENGLISH]
WORDS = "words.yaml"
"""Names that are put together or come from files; they need not stand in a source as they are."""
HINT = "\nHow to: docs/languages.md\n"


def all_pairs(language: str) -> list[tuple[str, str, str]]:
    return [(file, text, other) for file, pairs in read_pairs(language) for text, other in pairs]


def expect_none(faults: list[str]) -> None:
    assert not faults, HINT + "\n".join(faults)


def test_there_is_something_to_translate() -> None:
    texts = {text for path in sources() for text in SourceTexts(path).to_translate()}
    assert {"Findings", "no step was recorded", "{path} does not exist"} <= texts
    assert {"What it measures"} <= {text for text, _ in page_texts()}


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_has_a_translation(language: str) -> None:
    known = {text for _, text, _ in all_pairs(language)}
    missing = {
        text: f"{where}: {text!r}"
        for path in sources()
        for where, text in ((path.name, each) for each in SourceTexts(path).to_translate())
        if text not in known
    }
    for text, code in page_texts():
        if text not in known:
            missing.setdefault(text, f"page of {code}: {text!r}")
    expect_none(list(missing.values()))


@pytest.mark.parametrize("language", OTHERS)
def test_no_translation_is_left_over(language: str) -> None:
    used = {text for path in sources() for text, _ in SourceTexts(path).constants()}
    used |= {text for path in sources() for text in SourceTexts(path).to_translate()}
    used |= {text.strip() for text in used} | {text for text, _ in page_texts()}
    expect_none(
        [
            f"{file}: {text!r}"
            for file, text, _ in all_pairs(language)
            if file not in (FOREIGN, WORDS) and text not in used
        ]
    )


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_translated_twice(language: str) -> None:
    counted = Counter(text for _, text, _ in all_pairs(language))
    expect_none([f"{text!r}: {count} times" for text, count in counted.items() if count > 1])


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_fields_of_their_texts(language: str) -> None:
    expect_none(
        [
            f"{file}: {text!r}: {fields(text)} against {fields(other)}"
            for file, text, other in all_pairs(language)
            if fields(text) != fields(other)
        ]
    )


@pytest.mark.parametrize("language", OTHERS)
def test_translations_keep_commands_and_keys(language: str) -> None:
    expect_none(
        [
            f"{file}: {text!r} lost {quoted!r}"
            for file, text, other in all_pairs(language)
            for quoted in text.split("`")[1::2]
            if f"`{quoted}`" not in other
        ]
    )


def test_no_text_is_glued_together() -> None:
    expect_none([each for path in sources() for each in SourceTexts(path).glued()])


def fields(text: str) -> set[str]:
    """Names of the fields; a text that is no template has none."""
    try:
        return {name for _, name, _, _ in Formatter().parse(text) if name}
    except ValueError:
        return set()
