"""From the memory report to what is printed and written, and to the exit code."""

import argparse
import sys

from diagnostics.command_line import (
    STDOUT,
    ExitCode,
    choose_exit_code,
    print_error,
    write_atomically,
    write_json,
)
from diagnostics.language import listed, say, spoken
from diagnostics.memory_command_line import is_printed
from diagnostics.printable import printable
from diagnostics.report.memory_json import to_json
from diagnostics.report.memory_model import MemoryReport
from diagnostics.report.memory_terminal import render_terminal


def publish(report: MemoryReport, options: argparse.Namespace, program: str) -> ExitCode:
    """Show and write the report as asked.

    Raises:
        DiagnosticsError: a file could not be written.
    """
    failed = [each for each in report.run.inputs if each.status == "failed"]
    for each in failed:
        print_error(program, listed(each.notes, "; "))
    try:
        if options.json != STDOUT:
            color = False if options.no_color else None
            stream = sys.stderr if is_printed(options.write_config) else sys.stdout
            render_terminal(report, stream, options.width, color)
    finally:  # whoever reads the first lines alone (`| head`) wants the files all the same
        if options.json is not None:
            write_json(options.json, to_json(report))
        if options.html is not None:
            _write_html(report, options)
    return _exit_code(report, options.fail_on, all_read=not failed)


def _write_html(report: MemoryReport, options: argparse.Namespace) -> None:
    from diagnostics.report.html_memory import render_html

    write_atomically(options.html, render_html(report))
    if options.json != STDOUT and not is_printed(options.write_config):
        print(
            "\n"
            + spoken(say("Report as a page: {file}", file=printable(str(options.html), limit=1000)))
        )


def _exit_code(report: MemoryReport, fail_on: str, *, all_read: bool) -> ExitCode:
    """A configuration that does not fit is a finding, whatever `--fail-on` says."""
    verdict = None if report.forecast is None else report.forecast.forecast.verdict
    severities = [finding.severity.label for finding in report.findings]
    code = choose_exit_code(severities, fail_on, all_read=all_read, judged=verdict != "unknown")
    return ExitCode.FINDINGS if code is ExitCode.OK and verdict == "does not fit" else code
