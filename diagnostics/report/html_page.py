"""The page around a report: one file, nothing loaded from anywhere, readable without its script."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from diagnostics.language import language
from diagnostics.report import html_words as words
from diagnostics.report.html_markup import Markup, element, prose

_TEMPLATES = "diagnostics.report"
_NONE = "'none'"


@dataclass(frozen=True)
class Section:
    """A part of the page with its heading; `place` is its anchor, a constant of the program."""

    place: str
    title: str
    parts: Sequence[Markup]


def make_page(
    title: str, header: Iterable[Markup], sections: Sequence[Section], footer: Iterable[Markup]
) -> str:
    """The whole file."""
    style, script = template("report.css"), template("report.js")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", style),
    )
    body = element(
        "body",
        element("a", words.SKIP, href="#verdict", class_="skip"),
        element("header", element("h1", title), *header, id="top"),
        element(
            "div",
            _contents(sections),
            element("main", [_section(each) for each in sections]),
            class_="columns",
        ),
        element("footer", *footer),
        element("script", script),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang=language())}\n"


def verdict_section(verdict: str, severity: str) -> Markup:
    """The answer; `severity` is that of the finding behind it, empty without one."""
    return element(
        "section",
        element("h2", words.VERDICT, id="verdict-title"),
        element("p", prose(verdict)),
        id="verdict",
        class_=("verdict", severity),
        aria_labelledby="verdict-title",
    )


def _contents(sections: Sequence[Section]) -> Markup:
    items = [element("li", element("a", each.title, href=f"#{each.place}")) for each in sections]
    return element(
        "nav",
        element("h2", words.CONTENTS, id="contents"),
        element("ul", items),
        aria_labelledby="contents",
    )


def _section(section: Section) -> Markup:
    label = f"{section.place}-title"
    return element(
        "section",
        element("h2", section.title, id=label),
        *section.parts,
        id=section.place,
        aria_labelledby=label,
    )


@cache
def template(name: str) -> Markup:
    """A file of this package that goes into the page as it is."""
    return Markup(files(_TEMPLATES).joinpath("templates", name).read_text("utf-8"))


def script_digest() -> str:
    """The SHA-256 of the page's script, as a Content-Security-Policy spells it."""
    return _digest(template("report.js"))


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded; of scripts and styles only the page's own may act."""
    allowed = {
        "default-src": _NONE,
        "style-src": _only(style),
        "script-src": _only(script),
        "base-uri": _NONE,
        "form-action": _NONE,
    }
    return "; ".join(f"{name} {source}" for name, source in allowed.items())


def _only(source: str) -> str:
    return f"'sha256-{_digest(source)}'"


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
