"""Whatever text goes into a page, it stays text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnostics.report.html_markup import MAX_TEXT, Markup, element, join, text
from tests.diagnostics.report.html_tree import read_page

HOSTILE = (
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    "<!--",
    "]]>",
    "&lt;script&gt;",
    "javascript:alert(1)",
    "\u202egnp.exe\u2066",
    "\x00\x1b[2J\r\n",
    "\ud800",
)


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_is_one_text_and_one_attribute(words: str) -> None:
    (node,) = read_page(element("p", words, title=words)).children

    assert [type(child) for child in node.children] in ([str], [])
    assert set(node.attributes) == {"title"}
    assert node.text == node.attributes["title"]
    assert all(each.isprintable() for each in node.text)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_keeps_its_printable_characters(first: str, second: str) -> None:
    page = element("p", element("b", first), second, class_=first)
    (node,) = read_page(page).children

    assert [each.tag for each in node.walk()] == ["b"]
    for given_text, shown in ((first, node.children[0].text), (first, node.attributes["class"])):
        kept = [each for each in given_text if each.isprintable()]
        assert [each for each in shown if each in set(kept)][: len(kept)] or not kept


def test_printable_text_comes_back_as_it_was() -> None:
    words = "a < b && c > \"d\" 'e' 中文 µ"
    assert read_page(element("p", words)).text == words


def test_markup_is_not_escaped_twice_and_lists_are_joined() -> None:
    assert join("a", [element("b", "c"), None], Markup("<i>d</i>")) == "a<b>c</b><i>d</i>"


def test_bidirectional_and_control_characters_are_made_visible() -> None:
    assert text("a\u202eb\x1b") == "a\\u202eb\\x1b"


def test_long_names_are_cut() -> None:
    assert MAX_TEXT - 2 < len(text("x" * 10**6)) <= MAX_TEXT


def test_attributes_can_be_left_out_or_stand_alone() -> None:
    assert element("p", hidden=True, class_=None, lang=False, x=1.0, y=0.125) == (
        '<p hidden x="1" y="0.12"></p>'
    )
