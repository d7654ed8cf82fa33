"""Lines of Chinese: as wide as the terminal lets them, with no mark at the start of a line."""

import io
import itertools

import pytest
from rich.cells import cell_len

from diagnostics.language.line_breaks import breaks_of, columns_of, units_of
from diagnostics.report.console import add_row, indented, line, make_console, print_parts, table

TEXT = (
    "一步的 37.0%（5149.9 ms 中的 1904.3 ms）在等待下一个批次，"
    "设备空闲；见 DATALOADER.TOTAL_WORKERS。"
)


def lines_of(text: str, width: int) -> list[str]:
    edges = [0, *breaks_of(text, width), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("width", [12, 24, 40, 79, 200])
def test_lines_fit_and_lose_nothing(width: int) -> None:
    lines = lines_of(TEXT, width)
    assert "".join(lines) == TEXT
    assert max(columns_of(each.rstrip()) for each in lines) <= width


@pytest.mark.parametrize("width", [30, 40, 60])
def test_no_line_begins_with_a_closing_mark_or_ends_with_an_opening_one(width: int) -> None:
    lines = lines_of(TEXT, width)
    assert all(each[0] not in "，。；：）" for each in lines)
    assert all(each[-1] != "（" for each in lines)


def test_words_and_numbers_stay_whole() -> None:
    assert "DATALOADER.TOTAL_WORKERS。" in units_of(TEXT)
    assert "（5149.9 " in units_of(TEXT)


def test_columns_are_those_of_the_terminal_library() -> None:
    for text in (TEXT, "abc", "é", "🙂"):
        assert columns_of(text) == cell_len(text)


def printed(part: object, width: int) -> list[str]:
    stream = io.StringIO()
    print_parts(make_console(stream, width), [part])  # type: ignore[list-item]
    return stream.getvalue().splitlines()


def test_a_report_fills_its_lines_with_wide_letters() -> None:
    lines = printed(indented("- " + "测量" * 60, 2), 80)
    assert max(map(cell_len, lines)) in (79, 80)
    assert all(each.startswith("  ") for each in lines)


def test_tables_with_wide_letters_align() -> None:
    made = table("阶段", "平均 ms", "占比")
    add_row(made, "等待数据", "28.0", "0.5%")
    add_row(made, "forward", "1904.3", "37.0%")
    lines = printed(made, 80)
    assert len({cell_len(each) for each in lines}) == 1


def test_text_without_wide_letters_wraps_as_ever() -> None:
    assert printed(line("word " * 30), 40) == [" ".join(["word"] * 8)] * 3 + [
        " ".join(["word"] * 6)
    ]
