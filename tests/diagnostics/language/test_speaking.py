"""Texts in the reader's language: templates, values in them, lists, pages, foreign texts."""

from diagnostics.language import (
    Sentence,
    blocks_of,
    language,
    listed,
    say,
    speaking,
    spoken,
    spoken_page,
)
from diagnostics.language.catalogue import Catalogue, ForeignText


def catalogue() -> Catalogue:
    foreign = ForeignText(
        pieces=("argument ", ": ", ""), fields=("name", "problem"), translation="{problem}@{name}"
    )
    texts = {
        "{share:.0%} of {whole}": "{whole}|{share:.0%}",
        "the step": "STEP",
        ", ": "+",
        "{error}; left out": "({error})",
    }
    return Catalogue(language="xx", texts=texts, foreign=(foreign,))


def test_english_is_spoken_unless_a_tool_says_otherwise() -> None:
    assert language() == "en"
    assert spoken("the step") == "the step"
    assert type(spoken(say("{a}", a=1))) is str


def test_a_language_is_spoken_inside_the_block_only() -> None:
    with speaking("zh"):
        assert language() == "zh"
        assert spoken("forward") == "前向"
        with speaking("en"):
            assert spoken("forward") == "forward"
    assert spoken("forward") == "forward"


def test_values_are_formatted_as_the_translation_says_and_translated_themselves() -> None:
    text = say("{share:.0%} of {whole}", share=0.254, whole="the step")
    assert catalogue().say(text) == "STEP|25%"


def test_sentences_hold_sentences() -> None:
    inner = say("{share:.0%} of {whole}", share=0.5, whole="it")
    assert catalogue().say(say("{error}; left out", error=inner)) == "(it|50%)"
    assert catalogue().say(say("{error}; left out", error=OSError(inner))) == "(it|50%)"


def test_blanks_around_a_field_are_for_latin_letters() -> None:
    with speaking("zh"):
        text = "most of it: {named}"
        assert spoken(say(text, named="backward")) == "其中最多的是反向"
        assert spoken(say(text, named="flow")) == "其中最多的是 flow"


def test_lists_have_the_separators_of_the_language() -> None:
    assert catalogue().say(listed(["the step", "b"])) == "STEP+b"


def test_what_has_no_translation_stays_english() -> None:
    assert catalogue().say(say("{n} steps", n=3)) == "3 steps"
    assert catalogue().say("nobody knows this") == "nobody knows this"
    assert catalogue().say("") == ""


def test_texts_of_other_programs_are_recognised() -> None:
    assert catalogue().say("argument --width: the step") == "STEP@--width"
    assert catalogue().say("argument without an end") == "argument without an end"
    assert catalogue().say("an argument a: b") == "an argument a: b"


def test_braces_in_foreign_values_are_no_fields() -> None:
    assert catalogue().say("argument {problem}: {x}") == "{x}@{problem}"


def test_hostile_text_is_matched_in_little_time() -> None:
    piece = ForeignText(pieces=("a", "b", "c", ""), fields=("x", "y", "z"), translation="")
    assert piece.values_in("a" + "b" * 100_000) is None


def test_a_page_is_translated_block_by_block() -> None:
    page = "## Why it matters\nOne line\nand one more.\n\n* an item\n  of two lines\n* another\n"
    assert list(blocks_of(page)) == [
        "## Why it matters",
        "One line and one more.",
        "* an item of two lines",
        "* another",
    ]
    assert spoken_page(page) == page
    with speaking("zh"):
        assert spoken_page(page) == (
            "## 为什么重要\nOne line and one more.\n\n* an item of two lines\n* another"
        )


def test_a_spoken_text_is_plain() -> None:
    with speaking("zh"):
        assert not isinstance(spoken(say("after step {last_step}", last_step=3)), Sentence)
