"""Texts that remember their template: strings like any other, until they are spoken."""

import copy
import pickle
from dataclasses import asdict, dataclass

import pytest

from diagnostics.language import Sentence, listed, say, speaking, spoken


def test_a_sentence_is_its_english_text() -> None:
    text = say("{share:.0%} of {whole}", share=0.25, whole="the step")
    assert text == "25% of the step"
    assert {text} == {"25% of the step"}
    assert isinstance(text, str)


def test_a_template_keeps_its_values_apart() -> None:
    text = say("{share:.0%} of {whole}", share=0.25, whole="the step")
    assert text.template == "{share:.0%} of {whole}"
    assert text.values == {"share": 0.25, "whole": "the step"}


def test_braces_in_a_value_are_no_fields() -> None:
    assert say("{path} is empty", path="{secret}") == "{secret} is empty"


def test_a_message_of_an_error_stays_a_sentence() -> None:
    error = ValueError(say("{path} is empty", path="a"))
    assert isinstance(str(error), Sentence)


@pytest.mark.parametrize("text", [say("{a} b", a=1), listed([say("{a} b", a=1), "c"], "; ")])
def test_copies_know_what_they_are_made_of(text: Sentence) -> None:
    for twin in (pickle.loads(pickle.dumps(text)), copy.deepcopy(text)):
        assert twin == text
        assert type(twin) is type(text)
        assert (twin.template, twin.values) == (text.template, text.values)


def test_records_keep_sentences() -> None:
    @dataclass(frozen=True)
    class Held:
        reasons: tuple[str, ...]

    held = asdict(Held(reasons=(say("{a} b", a=1),)))
    assert isinstance(held["reasons"][0], Sentence)


def test_a_listing_joins_its_parts() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b"], " and ") == "a and b"
    assert listed([]) == ""


@pytest.mark.parametrize(
    ("template", "values", "said"),
    [
        ("{count} step(s)", {"count": 1}, "1 step"),
        ("{count} step(s)", {"count": 2}, "2 steps"),
        ("{count} step(s)", {"count": 0}, "0 steps"),
        ("{count} process(es) (is|are) few", {"count": 1}, "1 process is few"),
        ("{count} process(es) (is|are) few", {"count": 3}, "3 processes are few"),
        ("{count:.0f} entr(y|ies)", {"count": 1.2}, "1 entry"),
        ("{count} sample(s)", {"count": "1.00"}, "1.00 samples"),
        ("{count} {role} process(es)", {"count": 1, "role": "worker"}, "1 worker process"),
        ("{a} rank(s) of {b} thread(s)", {"a": 1, "b": 8}, "1 rank of 8 threads"),
        ("{name}'s step(s)", {"name": "a(s)"}, "a(s)'s step(s)"),
        ("{count} {name}", {"count": 1, "name": "step(s)"}, "1 step(s)"),
        ("{{{count}}} step(s)", {"count": 1}, "{1} step"),
    ],
)
def test_forms_follow_their_count(template, values, said):
    assert say(template, **values) == said


def test_a_translation_that_is_missing_is_said_with_its_forms():
    with speaking("zh"):
        assert spoken(say("{count} thing(s) of nowhere", count=1)) == "1 thing of nowhere"
