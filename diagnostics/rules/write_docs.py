"""Writes `docs/rules/`, one page for each rule: `python -m diagnostics.rules.write_docs`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from string import Formatter

from diagnostics.rules.catalogue import DOCUMENTED, MACHINE_PATTERNS
from diagnostics.rules.rule import Documented, Threshold

FOLDER = Path("docs/rules")


def page(rule: Documented) -> str:
    """The page of one rule, in Markdown."""
    rows = [_row(name, limit) for name, limit in rule.thresholds().items()]
    parts = [
        f"# {rule.code} {rule.name}",
        f"Says: {_template(rule)}",
        rule.docs.strip(),
        "## Limits",
        "\n".join(("| limit | value | why | source |", "|---|---|---|---|", *rows)),
    ]
    if rule.explains:
        parts.append(f"Its symptoms, folded under it in a report: {', '.join(rule.explains)}.")
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
    return f"| {name} | {limit.value:g} {limit.unit} | {limit.reason} | {limit.source} |"


def _template(rule: Documented) -> str:
    """The summary with `<name>` for each value, without formats."""
    parts = Formatter().parse(rule.summary)
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
