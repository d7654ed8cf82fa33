"""Reports made when somebody asks for them, and kept until their run changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

from diagnostics.tensorboard_plugin.run_folders import RunFolder

MAX_KEPT = 16
"""A page has at most 2 MB."""

Make = Callable[[Sequence[Path]], str]


class Reports:
    """Pages by run and language.

    One page is made at a time: reading a run takes memory, reading two takes twice of it.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._kept: OrderedDict[tuple[str, str], tuple[object, str]] = OrderedDict()
        self._making = threading.Lock()

    def page(self, run: RunFolder, language: str) -> str:
        """The run's page, made anew if any file of it changed. `language` is the one spoken now.

        Raises:
            DiagnosticsError: nothing of the run could be read; one line.
        """
        with self._making:
            key = (run.name, language)
            kept = self._kept.get(key)
            if kept is None or kept[0] != run.fingerprint:
                kept = (run.fingerprint, self._make(run.paths))
            self._kept[key] = kept
            self._kept.move_to_end(key)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
            return kept[1]


def make_report_page(paths: Sequence[Path]) -> str:
    """Read a run and write its page.

    Raises:
        DiagnosticsError: nothing could be read; one line.
    """
    # TensorBoard imports this module when it starts; pandas and the rules wait for a reader.
    from diagnostics.load import load_run
    from diagnostics.report.build import build_report
    from diagnostics.report.html_report import render_html
    from diagnostics.report.series_run import compute_series

    run = load_run(paths)
    report = build_report(run)
    return render_html(report, compute_series(run, report))
