"""Finds in the sources of the tools every text that a person may read."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from diagnostics.language import blocks_of, mark_of
from diagnostics.language.catalogue import fields_of
from diagnostics.rules.catalogue import DOCUMENTED
from diagnostics.rules.thresholds import OUTCOME_LIMITS, Threshold, read_thresholds

ROOT = Path(__file__).resolve().parents[3]
NOT_FOR_READERS = {
    "diagnostics/analyses/trace_kernel_names.py",
    "diagnostics/language",
    "diagnostics/loading_tables.py",
    "diagnostics/machine_tables.py",
    "diagnostics/memory_snapshot.py",
    "diagnostics/memory_tables.py",
    "diagnostics/rank_tables.py",
    "diagnostics/table_type.py",
    "diagnostics/tables.py",
}
"""Files whose texts are for programmers: tables and their page, where a kernel's name is from."""
WORD_FILES = {"diagnostics/report/html_words.py"}
"""Files that hold nothing but texts, single words among them."""
NOT_TEXTS = {
    " has schema ",
    "whole trace",
    "Avg data time: ",
    "C",
    "Cache Stats:",
    "Checkpoint saved",
    "Collective name",
    "GiB",
    "Group size",
    "In msg nelems",
    "Out msg nelems",
    "Process Group Name",
    "SIGTERM",
    "Device Id",
    "Device Type",
    "Sequence number",
    "Step {step:.0f}",
    "band f1",
    "light dark",
    "line l1",
    "width=device-width, initial-scale=1",
    "External id",
    "Hit Rate:",
    "Total Allocated",
    "Total Reserved",
    "blocks per SM",
    "est. achieved occupancy %",
    "external id",
    "input PSNR_RGB",
    "no trace: ",
    "ut of memory",
}
"""Keys and marks in files that others wrote."""
PROGRAMMING_ERRORS = {"AssertionError", "KeyError", "RuntimeError", "TypeError", "ValueError"}
TITLES = {"heading", "make_table", "table", "_cells"}
PROGRAMS = {"diagnostics/rules/write_docs.py": {"index"}}
"""Functions that write pages of the documentation, which is English."""
_WORDS = re.compile(
    r"[A-Za-z][a-z'/]+[,;:.)]? +[(]?[A-Za-z`'<{/0-9]|[a-z]{2,}[,;:.]? +\{|\}[a-z']* [a-z]{2,}"
)
_CODE = re.compile(
    r"\\[dswb.\[(]|\(\?|^np\.|\| None|^[A-Z_]+ [A-Z_]+$|^python |^bold |"
    r"^(?:(?:[a-z]+_[a-z_]+|\{\}) ?)+$"
)

_MARKUP = re.compile(r"^(?:[a-z]+ [a-z]*-?\{\}|<!|default-src|\{\}(?::\{\})? [a-z]+$)")
"""Classes of HTML, and figures with a unit."""


def sources() -> list[Path]:
    """The files of the tools that hold texts."""
    files = [*(ROOT / "diagnostics").rglob("*.py"), *ROOT.glob("*.py")]
    return sorted(path for path in files if not _is_excluded(path.relative_to(ROOT)))


def _is_excluded(path: Path) -> bool:
    names = {path.as_posix(), *(parent.as_posix() for parent in path.parents)}
    return bool(names & NOT_FOR_READERS)


def is_prose(text: str) -> bool:
    """Several words in a row: names, keys and patterns have none."""
    return _WORDS.search(text) is not None and _CODE.search(text) is None


class SourceTexts:
    """What one source file says."""

    def __init__(self, path: Path) -> None:
        self.where = path.relative_to(ROOT).as_posix()
        self.tree = ast.parse(path.read_text("utf-8"))
        self.parents = {
            child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)
        }

    def constants(self) -> Iterator[tuple[str, ast.Constant]]:
        """Every string that is neither documentation nor part of an f-string."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if not isinstance(self.parents[node], ast.Expr | ast.JoinedStr):
                yield node.value, node

    def to_translate(self) -> Iterator[str]:
        """Templates, prose, and words in places that are read."""
        if "/" not in self.where:
            yield ast.get_docstring(self.tree) or ""  # what a tool says of itself in its help
        for text, node in self.constants():
            is_text = is_prose(text) or self._is_read(node)
            if is_text and _has_words(text) and not self._is_for_programmers(node):
                yield text.strip() if _is_column(self.parents[node]) else text

    def glued(self) -> Iterator[str]:
        """Prose in f-strings, which no translation can find."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.JoinedStr) and not self._is_for_programmers(node):
                text = "".join(
                    part.value if isinstance(part, ast.Constant) else "{}" for part in node.values
                )
                if is_prose(text) and not _MARKUP.search(text):
                    yield f"{self.where}:{node.lineno}: {text}"

    def _is_read(self, node: ast.Constant) -> bool:
        parent = self.parents[node]
        if isinstance(parent, ast.Dict) and node in parent.keys:
            return False
        if self.where in WORD_FILES or self._is_named_word(node):
            return True
        if isinstance(parent, ast.Call) and node in parent.args:
            is_template = called(parent) == "say" and parent.args[0] is node
            return is_template or called(parent) in TITLES
        return isinstance(parent, ast.keyword) and parent.arg in {"metric", "help"}

    def _is_named_word(self, node: ast.AST) -> bool:
        """A constant of a terminal's section, by itself or in a table of words."""
        if "terminal" not in self.where:
            return False
        while node in self.parents and not isinstance(node, ast.Call | ast.FunctionDef):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                return name.isupper() and not name.endswith(("STYLES", "SECTIONS", "PROGRAM"))
            node = self.parents[node]
        return False

    def _is_for_programmers(self, node: ast.AST) -> bool:
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                return called(node.exc) in PROGRAMMING_ERRORS
            if isinstance(node, ast.Call) and called(node) in {"compile", "format", "split"}:
                return True
            if isinstance(node, ast.FunctionDef):
                return node.name in PROGRAMS.get(self.where, ())
        return False


def called(call: ast.Call) -> str:
    """The name of the function that is called."""
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def _is_column(parent: ast.AST) -> bool:
    return isinstance(parent, ast.Call) and called(parent) in TITLES


def _has_words(text: str) -> bool:
    if text in NOT_TEXTS or "## What it measures" in text or text.startswith("# "):
        return False  # the pages of the rules are taken from the rules; others are documentation
    try:
        pieces = [piece for piece, _ in fields_of(text)]
    except ValueError:
        pieces = [text]
    return re.search("[A-Za-z]", "".join(pieces)) is not None


def page_texts() -> Iterator[tuple[str, str]]:
    """Name, sentence, limits and blocks of the page of every rule, with the rule's code."""
    for rule in DOCUMENTED:
        blocks = [block.removeprefix(mark_of(block)) for block in blocks_of(rule.docs)]
        for text in (rule.name, rule.summary, *_parts(rule.thresholds().values()), *blocks):
            if _has_words(text):
                yield text, rule.code
    for code, limits in read_thresholds(OUTCOME_LIMITS).items():
        for text in filter(_has_words, _parts(limits.values())):
            yield text, code


def _parts(limits: Iterable[Threshold]) -> list[str]:
    return [part for each in limits for part in (each.unit, each.reason, each.source)]
