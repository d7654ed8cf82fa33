"""Effects are whole sentences: nothing fills them in."""

from diagnostics.report.audit_words import WORDS


def test_no_effect_has_a_field_that_nobody_fills():
    assert [check for check, words in WORDS.items() if "{" in words.effect] == []
