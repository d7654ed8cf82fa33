"""From paths to printed and written reports: what `analyze_performance.py` does."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diagnostics.analyses.plan_work import work_from_mapping
from diagnostics.command_line import (
    STDOUT,
    ExitCode,
    OneLineParser,
    choose_exit_code,
    print_error,
    write_atomically,
    write_json,
)
from diagnostics.errors import DiagnosticsError
from diagnostics.language import listed, say, spoken
from diagnostics.load import load_run
from diagnostics.plan_runs import measured_plans
from diagnostics.printable import printable
from diagnostics.report.build import build_report
from diagnostics.report.json_report import to_json
from diagnostics.report.model import Report
from diagnostics.report.plans_build import PlanEvidence
from diagnostics.report.tensorboard_report import facts_folder_of, write_tensorboard
from diagnostics.report.terminal import render_checklist, render_terminal
from diagnostics.rules.catalogue import DOCUMENTED, find_documented
from diagnostics.rules.finding import Severity
from diagnostics.rules.write_docs import page
from diagnostics.run import Input, Run

BASELINE_UNREAD = "the baseline cannot be compared with: {error}"


AskTrainer = Callable[[Run, Path], Mapping[str, Any]]
"""What the trainer's side says of the run's work and of that of each plan in a folder."""


def diagnose(
    options: argparse.Namespace, program: str, ask_trainer: AskTrainer | None = None
) -> ExitCode:
    """Read the run, build its report, show and write it as asked.

    Raises:
        DiagnosticsError: nothing could be read, or a file could not be written.
    """
    run = load_run(options.paths, options.profiles_dir)
    baseline, is_baseline_read = _load_baseline(options, program)
    report = build_report(
        run,
        baseline=baseline,
        target_samples_per_s=options.target_samples_per_s,
        plans=_plans(run, options, ask_trainer),
    )
    _say_failures(report.inputs, program)
    try:
        if options.json != STDOUT:
            color = False if options.no_color else None
            render = render_checklist if options.checklist else render_terminal
            render(report, sys.stdout, options.width, color)
    finally:  # whoever reads the first lines alone (`| head`) wants the files all the same
        _write_files(run, report, options)
    is_all_read = all(each.status != "failed" for each in report.inputs)
    return choose_exit_code(
        [severity.label for severity in _what_counts(report)],
        options.fail_on,
        all_read=is_all_read and is_baseline_read,
        judged=_is_judged(report),
    )


def _write_files(run: Run, report: Report, options: argparse.Namespace) -> None:
    if options.json is not None:
        write_json(options.json, to_json(report))
    if options.html is not None:
        _write_html(run, report, options)
    if options.tensorboard:
        written = write_tensorboard(report, facts_folder_of(report), time.time())
        if options.json != STDOUT:
            shown = printable(str(written), limit=1000)
            print("\n" + spoken(say("Report for TensorBoard: {file}", file=shown)))


def _write_html(run: Run, report: Report, options: argparse.Namespace) -> None:
    from diagnostics.report.html_report import render_html
    from diagnostics.report.series_run import compute_series

    write_atomically(options.html, render_html(report, compute_series(run, report)))
    if options.json != STDOUT:
        print(
            "\n"
            + spoken(say("Report as a page: {file}", file=printable(str(options.html), limit=1000)))
        )


def _load_baseline(options: argparse.Namespace, program: str) -> tuple[Run | None, bool]:
    """The baseline, and whether all of it could be read; the run is reported all the same."""
    if options.baseline is None:
        return None, True
    try:
        baseline = load_run([options.baseline])
    except DiagnosticsError as error:
        print_error(program, say(BASELINE_UNREAD, error=error))
        return None, False
    _say_failures(baseline.inputs, program)
    return baseline, all(each.status != "failed" for each in baseline.inputs)


def _plans(
    run: Run, options: argparse.Namespace, ask_trainer: AskTrainer | None
) -> PlanEvidence | None:
    if options.plans is None or ask_trainer is None:
        return None
    if run.info.trainer == "own" or not run.info.config:
        return PlanEvidence(work=None)
    work = work_from_mapping(ask_trainer(run, options.plans))
    measured = measured_plans(options.profiles_dir, work.plans, run.info.device)
    return PlanEvidence(work=work, measured=measured)


def _what_counts(report: Report) -> list[Severity]:
    """All findings; against a baseline, what became worse since."""
    against = report.against_baseline
    if against is None:
        return [finding.severity for finding in report.findings]
    worse = [each.severity for each in against.regressions]
    return worse + [each.severity for each in against.new_findings]


def _is_judged(report: Report) -> bool:
    against = report.against_baseline
    return report.verdict.judged and (against is None or against.is_judged)


def _say_failures(inputs: Sequence[Input], program: str) -> None:
    """One line for each input that could not be read; the rest is reported all the same."""
    for each in inputs:
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
