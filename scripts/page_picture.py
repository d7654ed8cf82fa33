"""Draws the head of a report's page as a picture for the documentation, with a Chromium.

`python scripts/page_picture.py INPUT` writes docs/report-page.png.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.html_report import render_html
from diagnostics.report.series_run import compute_series

ROOT = Path(__file__).resolve().parent.parent
SIZE = "1200,1000"


def main() -> int:
    """Read the input, draw the top of its page; returns the exit code."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if len(sys.argv) != 2 or browser is None:
        reason = "no Chromium on PATH" if browser is None else f"usage: {sys.argv[0]} INPUT"
        print(reason, file=sys.stderr)
        return 2
    run = load_run([Path(sys.argv[1])])
    report = build_report(run)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(render_html(report, compute_series(run, report)), "utf-8")
        target = ROOT / "docs" / "report-page.png"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={folder}/profile", f"--window-size={SIZE}"]
        subprocess.run([*command, f"--screenshot={target}", page.as_uri()], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
