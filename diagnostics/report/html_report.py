"""The performance report as one HTML file: the answer first, then what it stands on.

The sections are the terminal's own (`terminal.SECTIONS`), their sentences and tables included;
charts, bars and findings with their layout are added here.
"""

from collections.abc import Iterator

from diagnostics.command_line import tool_version
from diagnostics.language import say
from diagnostics.report import html_words as words
from diagnostics.report import units
from diagnostics.report.html_blocks import sections_of, to_blocks
from diagnostics.report.html_charts import lanes_figure, phases_figure, steps_figure
from diagnostics.report.html_courses import courses_parts
from diagnostics.report.html_findings import findings_parts
from diagnostics.report.html_markup import Markup, element, join
from diagnostics.report.html_page import Section, make_page, verdict_section
from diagnostics.report.html_partition import partition_parts
from diagnostics.report.html_rules import rules_parts
from diagnostics.report.model import Report, Trust
from diagnostics.report.series_run import RunSeries
from diagnostics.report.terminal import SECTIONS, title_lines
from diagnostics.report.terminal_checklist import checklist_section
from diagnostics.report.terminal_trust import trust_lines

PROGRAM = "analyze_performance.py"
ORDER = ("comparison", "findings", "plans", "phases", "stages", "data", "trace")
"""The sections that come first, in this order; the others follow as in the terminal."""


def render_html(report: Report, series: RunSeries) -> str:
    """The page, whole; its size does not grow with the length of the run."""
    names = [*ORDER, *(name for name in SECTIONS if name not in ORDER)]
    sections = [section for name in names for section in _sections(name, report, series)]
    sections += sections_of("checklist", checklist_section(report.checklist))
    return make_page(_title(report), _header(report), sections, _footer(report))


def _title(report: Report) -> str:
    files = [each.path.name for each in report.inputs if each.status != "failed"]
    run = report.info.run_id or next(iter(files), words.UNNAMED_RUN)
    if report.info.name:
        return say(words.TITLE_NAMED, run=run, name=report.info.name)
    return say(words.TITLE, run=run)


def _header(report: Report) -> Iterator[Markup]:
    severities = {finding.rule: finding.severity.label for finding in report.findings}
    severity = severities.get(report.verdict.rule or "", "" if report.verdict.judged else "warn")
    yield verdict_section(report.verdict.text, severity)
    yield element("div", _trust(report.trust), _figures(report), class_="summary")
    for block in to_blocks(title_lines(report)):
        yield element("div", *block.parts, class_="inputs")


def _trust(trust: Trust) -> Markup:
    grade = say(words.TRUST_GRADE, grade=trust.grade, meaning=words.TRUST_MEANING[trust.grade])
    said = [part for block in to_blocks(trust_lines(trust)) for part in block.parts]
    return element(
        "section",
        element("h2", words.TRUST, id="trust-title"),
        element("p", grade, class_=("grade", f"grade-{trust.grade}")),
        element("p", words.NO_DOUBT) if not trust.reasons else None,
        *said,
        class_="trust",
        aria_labelledby="trust-title",
    )


def _figures(report: Report) -> Markup:
    pairs = [
        element("div", element("dt", name), element("dd", value))
        for name, value in _key_figures(report)
    ]
    return element(
        "section",
        element("h2", words.KEY_FIGURES, id="figures-title"),
        element("dl", pairs),
        class_="figures",
        aria_labelledby="figures-title",
    )


def _key_figures(report: Report) -> Iterator[tuple[str, str]]:
    """What was not measured is left out."""
    breakdown, rate, window = report.analysis.breakdown, report.analysis.throughput, report.window
    if breakdown.step is not None:
        yield words.STEP_MEAN, say(words.IN_MS, ms=units.ms(breakdown.step.mean_ms))
        yield words.STEP_P95, say(words.IN_MS, ms=units.ms(breakdown.step.p95_ms))
    if rate.samples_per_s is not None:
        yield words.RATE, units.rate(rate.samples_per_s)
    if window is not None and window.data_wait_share is not None:
        yield words.WAIT, units.share(window.data_wait_share)
    traced = report.analysis.trace_summary
    if traced is not None and traced.gpu_busy_share is not None:
        yield words.GPU_BUSY, units.share(traced.gpu_busy_share)
    used = str(breakdown.count)
    if breakdown.excluded:
        used = say(words.STEPS_USED_OF, used=breakdown.count, left_out=breakdown.excluded)
    yield words.STEPS_USED, used


def _sections(name: str, report: Report, series: RunSeries) -> Iterator[Section]:
    """The sections that one of the terminal's becomes: one for each of its headings."""
    if name == "findings":
        parts = findings_parts(report.causes, report.findings)
        yield Section(name, words.FINDINGS, parts)
        return
    if name == "rules":
        yield Section(name, words.NOT_FIRED, rules_parts(report.passed, report.not_evaluated))
        return
    yield from sections_of(name, SECTIONS[name](report))
    yield from _charts(name, report, series)


def _charts(name: str, report: Report, series: RunSeries) -> Iterator[Section]:
    """What is drawn after a section of the terminal."""
    if name == "phases" and series.steps is not None:
        yield Section("time-line", words.STEPS_CHART, [steps_figure(series.steps)])
        stacked = phases_figure(series.steps)
        if stacked is not None:
            yield Section("phase-course", words.PHASES_CHART, [stacked])
    elif name == "trace":
        parts = partition_parts(report.analysis.trace_summary)
        if parts:
            yield Section("partition", words.PARTITION_CHART, parts)
    elif name == "ranks" and series.lanes is not None:
        yield Section("lanes", words.LANES_CHART, [lanes_figure(series.lanes)])
    elif name == "memory" and series.memory:
        yield Section("memory-course", words.MEMORY_CHART, courses_parts(series.memory))
    elif name == "machine" and series.load:
        yield Section("load-course", words.LOAD_CHART, courses_parts(series.load))


def _footer(report: Report) -> Iterator[Markup]:
    made = say(
        words.MADE_BY,
        program=PROGRAM,
        version=tool_version(),
        sha=report.thresholds.sha256[:12],
        thresholds=report.thresholds.version,
    )
    yield element("p", join(made, " ", words.READ_ON))
    yield element("p", element("a", words.BACK, href="#top"))
