"""The HTML report in a real browser: widths, keyboard, dark, print, and nothing is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from analyze_performance import main
from diagnostics.language import speaking, spoken
from tests.browser import CHROMEDRIVER, CHROMIUM, browsing
from tests.diagnostics.trace_factory import kernel, starved_steps, write_trace

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "tests" / "data" / "demo_run" / "profiles"
TAB, RIGHT, END, ENTER = "\ue004", "\ue014", "\ue010", "\ue007"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or CHROMEDRIVER is None,
        reason="no Chromium with chromedriver on this machine to open the page",
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    command = [sys.executable, str(ROOT / "analyze_performance.py"), str(RUN), "--html", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path.as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory, page):
    with browsing(tmp_path_factory.mktemp("chromium")) as browser:
        browser.open(page)
        yield browser


@pytest.fixture(scope="module")
def long_names(tmp_path_factory):
    """The page of a trace whose names have no blank to break a line at."""
    folder = tmp_path_factory.mktemp("long")
    events = starved_steps(30)
    for place in range(3):
        name = f"void{place}_" + "kernel_of_a_template<" * 40
        events += kernel(name, 1064.0 + place, 4010.0 + 100 * place, 90, 900 + place)
    trace = write_trace(folder / f"{'rank_0_of_a_long_name' * 8}.json", events)
    path = folder / "report.html"
    main([str(trace), "--html", str(path)])
    return path.as_uri()


@pytest.mark.parametrize("width", [360, 768, 1400])
@pytest.mark.parametrize("which", ["page", "long_names"])
def test_the_page_never_scrolls_sideways(browser, request, which, width):
    browser.show_as(width)
    browser.open(request.getfixturevalue(which))
    shown = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert shown[0] <= shown[1]
    outside = browser.run(
        "return [...document.querySelectorAll('main *, header *')].filter((each) => "
        "!each.closest('.scroll') && !each.closest('svg') && !each.closest('.unseen') && "
        "each.getBoundingClientRect().right > innerWidth + 1)"
        ".map((each) => each.outerHTML.slice(0, 90))"
    )
    assert outside == []


def test_the_browser_has_nothing_to_complain_about(browser, page):
    browser.open(page)
    assert browser.complaints() == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


def test_a_script_that_came_in_would_not_run(browser, page):
    browser.open(page)
    browser.run(
        "const script = document.createElement('script');"
        "script.textContent = 'document.title = \"taken\"';"
        "document.body.append(script);"
    )
    assert browser.run("return document.title").startswith("Performance of run")
    assert any("Content Security Policy" in each for each in browser.complaints())


def test_the_keyboard_reaches_contents_and_charts_in_order(browser, page):
    browser.show_as(1400)
    browser.open(page)
    stops = []
    for _ in range(60):
        browser.press(TAB)
        stops.append(
            browser.run(
                "const at = document.activeElement;"
                "return [at.className || at.tagName, at.getAttribute('href') || '', "
                "at.getBoundingClientRect().top + scrollY]"
            )
        )
    assert stops[0][:2] == ["skip", "#verdict"]
    ends = [place for place, stop in enumerate(stops) if stop[0] in ("skip", "BODY") and place]
    stops = stops[: min(ends, default=None)]  # from there on it begins anew
    links = [href for _, href, _ in stops if href.startswith("#")]
    assert "#findings" in links
    charts = [top for name, _, top in stops if name == "plot"]
    assert charts
    assert charts == sorted(charts)
    assert len(charts) == browser.run("return document.querySelectorAll('.plot').length")


def test_a_chart_is_read_with_arrow_keys(browser, page):
    browser.open(page)
    says = []
    browser.run("document.querySelector('#time-line .plot').focus()")
    for key in (RIGHT, RIGHT, END):
        browser.press(key)
        says.append(browser.run("return document.activeElement.getAttribute('aria-valuetext')"))
        shown = browser.run("return document.querySelector('#time-line .readout').textContent")
        assert shown == says[-1]
    assert len(set(says)) == 3
    assert all(" ms" in each for each in says)


def test_the_page_follows_the_reader_s_colours(browser, page):
    seen = {}
    for scheme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print")):
        browser.show_as(1000, scheme, media)
        browser.open(page)
        seen[scheme, media] = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert seen["light", "screen"] != seen["dark", "screen"]
    assert seen["dark", "print"] == seen["light", "screen"]
    browser.show_as(1400)


def test_the_page_prints(browser, page):
    browser.open(page)
    printed = browser.command("Page.printToPDF", printBackground=True)
    assert len(printed["data"]) > 10_000


CONTRAST = """
const light = (text) => {
  const parts = text.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
  const even = parts.map(
    (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * even[0] + 0.7152 * even[1] + 0.0722 * even[2];
};
const behind = (node) => {
  const colour = getComputedStyle(node).backgroundColor;
  return colour.endsWith(", 0)") && node.parentElement ? behind(node.parentElement) : colour;
};
return [...document.querySelectorAll("#checklist p, #checklist h2")].map((line) => {
  const pair = [light(getComputedStyle(line).color), light(behind(line))].sort((a, b) => b - a);
  return (pair[0] + 0.05) / (pair[1] + 0.05);
});
"""
"""Of each line with what is behind it, as WCAG 2.1 counts it: 1 to 21, 4.5 is readable."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_checklist_is_on_the_page_in_both_languages_and_colours(
    browser, tmp_path, capsys, lang, scheme
):
    path = tmp_path / "report.html"
    with speaking(lang):
        main([str(RUN), "--checklist", "--html", str(path), "--width", "1000"])
        printed = capsys.readouterr().out
        title, passed = spoken("Checklist"), spoken("pass")
    items = [line.strip() for line in printed.splitlines() if line.startswith("    [")]
    browser.show_as(1100, scheme)
    browser.open(path.as_uri())
    shown = browser.run("return document.querySelector('#checklist').innerText")
    assert shown.startswith(title)
    lines = [" ".join(line.split()) for line in shown.splitlines() if line.startswith("[")]
    assert lines == [" ".join(item.replace("`", "").split()) for item in items]
    assert len(lines) == 13
    assert any(line.startswith(f"[{passed}]") for line in lines)
    entries = browser.run(
        "return [...document.querySelectorAll('nav a')].map((each) => each.getAttribute('href'))"
    )
    assert "#checklist" in entries
    assert min(browser.run(CONTRAST)) >= 4.5
    assert browser.run("return document.documentElement.lang") == lang
