"""Which language a tool speaks: `--lang`, else the locale, else English."""

import pytest

from diagnostics.language import chosen_language

CHINESE = {"LANG": "zh_CN.UTF-8"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--lang", "zh"],
        ["--lang=zh"],
        ["x", "--lang", "en", "--lang=zh"],
        ["--json", "-", "--lang=zh"],
    ],
)
def test_the_option_decides(arguments: list[str]) -> None:
    assert chosen_language(arguments, {"LC_ALL": "en_US.UTF-8"}, "ascii") == "zh"


def test_the_option_can_ask_for_english() -> None:
    assert chosen_language(["--lang", "en"], CHINESE, "utf-8") == "en"


@pytest.mark.parametrize("arguments", [["--lang", "fr"], ["--lang"], ["--", "--lang", "en"]])
def test_what_is_no_language_leaves_it_to_the_locale(arguments: list[str]) -> None:
    assert chosen_language(arguments, CHINESE, "utf-8") == "zh"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LC_MESSAGES": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LC_MESSAGES": "en_US.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, "zh"),
    ],
)
def test_the_first_variable_of_the_locale_that_is_set_decides(
    environ: dict[str, str], expected: str
) -> None:
    assert chosen_language([], environ, "utf-8") == expected


@pytest.mark.parametrize(
    ("encoding", "expected"), [("gbk", "zh"), ("ascii", "en"), ("latin-1", "en"), (None, "en")]
)
def test_the_locale_needs_an_output_that_can_write_it(encoding: str | None, expected: str) -> None:
    assert chosen_language([], CHINESE, encoding) == expected
