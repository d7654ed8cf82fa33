"""Texts that remember their template: strings like any other, until they are spoken."""

import copy
import pickle
from dataclasses import asdict, dataclass

import pytest

from diagnostics.language import Sentence, listed, say


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
