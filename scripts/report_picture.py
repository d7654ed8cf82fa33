"""Draws the report of a run as the README's picture: `python scripts/report_picture.py RUN`.

The report is the one that `analyze_performance.py` prints, drawn by rich into an SVG file.
"""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.terminal import render_terminal

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 84


def main() -> int:
    """Read the run, draw its report; returns the exit code."""
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} RUN", file=sys.stderr)
        return 2
    report = build_report(load_run([Path(sys.argv[1])]))
    ansi = io.StringIO()
    render_terminal(report, ansi, width=WIDTH, color=True)
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text.from_ansi(ansi.getvalue()))
    title = "python analyze_performance.py"
    (ROOT / "docs" / "report.svg").write_text(console.export_svg(title=title), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
