"""Nouns and verbs behind a count: `{count} step(s)` is said as `1 step` and as `2 steps`."""

import re
from collections.abc import Mapping
from string import Formatter
from typing import Any

_FORMS = re.compile(r"\((?:(s|es)|([a-z]+)\|([a-z]+))\)")
"""`(s)` and `(es)` behind a noun; `(is|are)` for one and for several."""
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def filled(template: str, values: Mapping[str, Any]) -> str:
    """The template with its values; its forms follow the number in the last field before them.

    A form before any number stays as it is written.
    """
    if _FORMS.search(template) is None:
        return template.format_map(values)
    said, number = [], ""
    for text, field, spec, conversion in Formatter().parse(template):
        said.append(_with_forms(text, number))
        if field is None:
            continue
        mark = f"!{conversion}" if conversion else ""
        value = f"{{{field}{mark}:{spec}}}".format_map(values)
        said.append(value)
        number = value if _NUMBER.fullmatch(value) else number
    return "".join(said)


def for_several(template: str) -> str:
    """The template with the forms for several, where no number is there to go by."""
    return _FORMS.sub(lambda found: found[1] or found[3], template)


def _with_forms(text: str, number: str) -> str:
    if not number:
        return text
    is_one = number == "1"

    def form(found: re.Match[str]) -> str:
        plural, one, several = found.groups()
        return ("" if is_one else plural) if plural else one if is_one else several

    return _FORMS.sub(form, text)
