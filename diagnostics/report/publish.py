"""From paths to printed and written reports: what `analyze_performance.py` does."""

import argparse
import sys
import time

from diagnostics.command_line import (
    STDOUT,
    ExitCode,
    OneLineParser,
    choose_exit_code,
    print_error,
    write_atomically,
    write_json,
)
from diagnostics.language import listed, say, spoken
from diagnostics.load import load_run
from diagnostics.printable import printable
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_json
from diagnostics.report.model import Report
from diagnostics.report.tensorboard_report import facts_folder_of, write_tensorboard
from diagnostics.report.terminal import render_terminal
from diagnostics.rules.catalogue import DOCUMENTED, find_documented
from diagnostics.rules.write_docs import page
from diagnostics.run import Run


def diagnose(options: argparse.Namespace, program: str) -> ExitCode:
    """Read the run, build its report, show and write it as asked.

    Raises:
        DiagnosticsError: nothing could be read, or a file could not be written.
    """
    run = load_run(options.paths, options.profiles_dir)
    report = build_report(run)
    _say_failures(report, program)
    if options.json != STDOUT:
        color = False if options.no_color else None
        render_terminal(report, sys.stdout, options.width, color)
    if options.json is not None:
        write_json(options.json, to_json(report))
    if options.html is not None:
        _write_html(run, report, options)
    if options.tensorboard:
        written = write_tensorboard(report, facts_folder_of(report), time.time())
        if options.json != STDOUT:
            shown = printable(str(written), limit=1000)
            print("\n" + spoken(say("Report for TensorBoard: {file}", file=shown)))
    return choose_exit_code(
        [finding.severity.label for finding in report.findings],
        options.fail_on,
        all_read=all(each.status != "failed" for each in report.inputs),
        judged=report.verdict.judged,
    )


def _write_html(run: Run, report: Report, options: argparse.Namespace) -> None:
    from diagnostics.report.html_report import render_html
    from diagnostics.report.series_run import compute_series

    write_atomically(options.html, render_html(report, compute_series(run, report)))
    if options.json != STDOUT:
        print(
            "\n"
            + spoken(say("Report as a page: {file}", file=printable(str(options.html), limit=1000)))
        )


def _say_failures(report: Report, program: str) -> None:
    """One line for each input that could not be read; the rest is reported all the same."""
    for each in report.inputs:
        if each.status == "failed":
            print_error(program, listed(each.notes, "; "))


def list_rules() -> ExitCode:
    """Print code and name of every rule."""
    for rule in DOCUMENTED:
        print(f"{rule.code}  {spoken(rule.name)}")
    return ExitCode.OK


def explain_rule(wanted: str, parser: OneLineParser) -> ExitCode:
    """Print the page of a rule; an unknown one is a bad argument."""
    rule = find_documented(wanted)
    if rule is None:
        parser.error(
            say("no rule {wanted!r}; --list-rules names all of them", wanted=printable(wanted, 60))
        )
    print(page(rule), end="")
    return ExitCode.OK
