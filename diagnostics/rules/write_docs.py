"""Writes `docs/rules/`, one page for each rule: `python -m diagnostics.rules.write_docs`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from string import Formatter

from diagnostics.language import listed, say, spoken, spoken_page
from diagnostics.language.counts import for_several
from diagnostics.rules.catalogue import DOCUMENTED, MACHINE_PATTERNS
from diagnostics.rules.rule import Documented, Threshold

FOLDER = Path("docs/rules")


def page(rule: Documented) -> str:
    """The page of one rule, in Markdown, in the language spoken now."""
    rows = [_row(name, limit) for name, limit in rule.thresholds().items()]
    parts = [
        f"# {rule.code} {spoken(rule.name)}",
        spoken(say("Says: {sentence}", sentence=_template(rule))),
        spoken_page(rule.docs.strip()),
        f"## {spoken('Limits')}",
        "\n".join((_cells("limit", "value", "why", "source"), "|---|---|---|---|", *rows)),
    ]
    if rule.explains:
        folded = "Its symptoms, folded under it in a report: {codes}."
        parts.append(spoken(say(folded, codes=listed(rule.explains))))
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """The page that lists all rules."""
    of_memory_tool = {pattern.code for pattern in MACHINE_PATTERNS}
    rows = [
        f"| [{rule.code}]({_file(rule)}) | {rule.name} | "
        f"{'machine, forecast' if rule.code in of_memory_tool else 'run'} |"
        for rule in DOCUMENTED
    ]
    return "\n".join(
        (
            "# The rules",
            "",
            "Written by `python -m diagnostics.rules.write_docs` from the rules themselves; a test",
            "keeps it current. `python analyze_performance.py --explain RULE` prints a page.",
            "",
            "`analyze_performance.py` looks at a run; `diagnose_memory.py` at the machine as it is",
            "now, and at the forecast for a configuration.",
            "",
            "| rule | pattern | looks at |",
            "|---|---|---|",
            *rows,
            "",
        )
    )


def pages() -> dict[str, str]:
    """Every file of the folder by its name."""
    return {"README.md": index(), **{_file(rule): page(rule) for rule in DOCUMENTED}}


def _file(rule: Documented) -> str:
    return f"{rule.code}-{rule.name}.md"


def _row(name: str, limit: Threshold) -> str:
    value = say("{value:g} {unit}", value=limit.value, unit=limit.unit)
    return f"| {name} {_cells(value, limit.reason, limit.source)}"


def _cells(*cells: str) -> str:
    return f"| {' | '.join(map(spoken, cells))} |"


def _template(rule: Documented) -> str:
    """The summary with `<name>` for each value, without formats."""
    parts = Formatter().parse(for_several(spoken(rule.summary)))
    return "".join(text + (f"<{field}>" if field else "") for text, field, _, _ in parts)


def main(arguments: Sequence[str] = ()) -> int:
    """Write the folder; files of rules that are gone are removed."""
    folder = Path(arguments[0]) if arguments else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for stale in set(folder.glob("*.md")) - {folder / name for name in wanted}:
        stale.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
