"""Every symptom, problem, do and don't of the performance guide is looked for by a rule."""

import re
from pathlib import Path

import pytest

from diagnostics.rules.catalogue import DOCUMENTED

PAGE = Path(__file__).resolve().parents[3] / "docs" / "troubleshooting.md"
DOCUMENTED_ITEMS = {
    "symptom": (
        "memory grows quickly until",
        "GPU utilisation below 50 %",
        "forward pass above 1500 ms",
        "less than 1 sample/s",
    ),
    "problem": (
        "out of memory, on the machine",
        "out of memory, on the GPU",
        "low GPU utilisation",
        "slow although the GPU is full",
        "cache hit rate below 60 %",
        "loss suddenly NaN",
        "gradients explode or vanish",
        "AMP unstable",
        "accuracy drops",
    ),
    "do": (
        "AMP first",
        "LRU cache",
        "automatic workers",
        "persistent workers",
        "monitor regularly",
        "step by step, conservative first",
    ),
    "don't": (
        "CACHE_SIZE_GB above 50 %",
        "more workers than cores",
        "several jobs at once",
        "monitoring off",
        "until accuracy is gone",
    ),
}
BEFORE_A_RUN = ("AMP first", "LRU cache", "automatic workers", "persistent workers", "monitoring")
CODES = {each.code for each in DOCUMENTED}


def rows():
    """Kind and text of each documented item, with the codes beside it."""
    found = re.findall(
        r"^\| (symptom|problem|do|don't): (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE
    )
    return [(kind, text, set(re.findall(r"[A-Z]{2}\d{3}", codes))) for kind, text, codes in found]


@pytest.mark.parametrize("kind", DOCUMENTED_ITEMS)
def test_every_documented_item_stands_in_the_table(kind):
    texts = [text for of, text, _ in rows() if of == kind]
    missing = [item for item in DOCUMENTED_ITEMS[kind] if not any(item in text for text in texts)]
    assert not missing


def test_every_item_has_rules_that_exist():
    assert len(rows()) >= 24
    for _, text, codes in rows():
        assert codes, text
        assert codes <= CODES, text


@pytest.mark.parametrize("item", BEFORE_A_RUN)
def test_what_can_be_checked_before_a_run_is(item):
    codes = set().union(*(codes for _, text, codes in rows() if item in text))
    assert any(code[2] == "1" for code in codes)


def test_every_code_of_the_page_is_a_rule():
    assert set(re.findall(r"\b[A-Z]{2}\d{3}\b", PAGE.read_text())) <= CODES
