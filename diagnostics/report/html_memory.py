"""The memory report as one HTML file, in the order and the words of the terminal's."""

from collections.abc import Iterator

from diagnostics.command_line import tool_version
from diagnostics.language import say
from diagnostics.memory_command_line import PROGRAM
from diagnostics.report import html_words as words
from diagnostics.report.html_blocks import sections_of, to_blocks
from diagnostics.report.html_courses import courses_parts
from diagnostics.report.html_findings import findings_parts
from diagnostics.report.html_markup import Markup, element
from diagnostics.report.html_page import Section, make_page, verdict_section
from diagnostics.report.memory_model import MemoryReport
from diagnostics.report.memory_terminal import SECTIONS, causes_of, input_lines
from diagnostics.report.series_resources import memory_courses


def render_html(report: MemoryReport) -> str:
    """The page, whole."""
    sections = [section for name in SECTIONS for section in _sections(name, report)]
    footer = element("p", say(words.MADE_BY_TOOL, program=PROGRAM, version=tool_version()))
    return make_page(words.MEMORY_TITLE, _header(report), sections, [footer])


def _header(report: MemoryReport) -> Iterator[Markup]:
    severity = report.findings[0].severity.label if report.findings else ""
    yield verdict_section(report.verdict, severity)
    for block in to_blocks(input_lines(report)):
        yield element("div", *block.parts, class_="inputs")


def _sections(name: str, report: MemoryReport) -> Iterator[Section]:
    if name == "findings":
        parts = findings_parts(causes_of(report), report.findings, words.NOTHING_TO_DO)
        yield Section(name, words.TO_DO, parts)
        return
    yield from sections_of(name, SECTIONS[name](report))
    run = report.run.report
    if name == "run" and run is not None and run.analysis.memory:
        parts = courses_parts(memory_courses(run.analysis.memory))
        yield Section("memory-course", words.MEMORY_CHART, parts)
