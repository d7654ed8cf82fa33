"""The HTML report: one safe file that says what the terminal says, for any reader, offline."""

import base64
import hashlib
import io
import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagnostics import tables as declared
from diagnostics.load import load_run
from diagnostics.report.build import build_report
from diagnostics.report.html_report import render_html
from diagnostics.report.series_run import compute_series
from diagnostics.report.terminal import render_terminal
from tests.diagnostics.factories import make_run, run_of, write_facts
from tests.diagnostics.report.html_tree import Node, read_page
from tests.diagnostics.trace_factory import event, kernel, starved_steps, write_trace

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo_run" / "profiles"
MAX_BYTES = 2_000_000
HOSTILE = (
    "<script>alert(1)</script>",
    '"onload="alert(1)',
    "</style><b>",
    "\u202eevil",
)
"""With the kernel of the factory as many as are listed."""
ADDRESS = re.compile(r"(?:https?:)?//[a-z]", re.IGNORECASE)


def page_of(*paths: Path) -> str:
    run = load_run(list(paths))
    report = build_report(run)
    return render_html(report, compute_series(run, report))


@pytest.fixture(scope="module")
def demo() -> str:
    return page_of(DEMO)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("ranks")
    return page_of(write_facts(folder, make_run(num_steps=60, num_ranks=3, validations=[20])))


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(write_trace(tmp_path_factory.mktemp("trace") / "t.json", starved_steps(6)))


@pytest.fixture(params=["demo", "ranks", "trace"])
def page(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture
def tree(page: str) -> Node:
    return read_page(page)


def headings(tree: Node) -> list[Node]:
    return [node for node in tree.walk() if re.fullmatch("h[1-6]", node.tag)]


def test_the_answer_stands_first(tree: Node) -> None:
    (header,) = tree.find("header")
    titles = [node.text for node in headings(header)]
    assert titles[1:4] == ["Verdict", "Trust", "Key figures"]
    assert len(tree.find("h1")) == 1


def test_headings_skip_no_level(tree: Node) -> None:
    levels = [int(node.tag[1]) for node in headings(tree)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(node.text.strip() for node in headings(tree))


def test_anchors_are_unique_and_every_link_leads_to_one(tree: Node) -> None:
    anchors = [node.attributes["id"] for node in tree.walk() if "id" in node.attributes]
    assert len(anchors) == len(set(anchors))
    links = [node.attributes["href"] for node in tree.find("a")]
    assert links
    assert {link.removeprefix("#") for link in links} <= set(anchors)
    for node in tree.walk():
        assert node.attributes.get("aria-labelledby", anchors[0]) in anchors


def test_landmarks_are_there_and_sections_have_names(tree: Node) -> None:
    for name in ("header", "nav", "main", "footer"):
        assert len(tree.find(name)) == 1
    assert all(node.attributes.get("aria-labelledby") for node in tree.find("section"))
    (root,) = tree.find("html")
    assert root.attributes["lang"] == "en"


def test_tables_have_captions_and_scopes(tree: Node) -> None:
    tables = tree.find("table")
    assert tables
    for table in tables:
        (caption,) = table.find("caption")
        assert caption.text.strip()
        assert all(cell.attributes.get("scope") in ("row", "col") for cell in table.find("th"))
        widths = {len([c for c in row.children if isinstance(c, Node)]) for row in table.find("tr")}
        assert len(widths) == 1


def test_charts_have_a_name_and_a_table(tree: Node) -> None:
    for figure in tree.find("figure"):
        assert figure.find("table")
        for plot in figure.find("div", class_="plot"):
            assert plot.attributes["role"] == "img"
            assert len(plot.attributes["aria-label"]) > 20


def test_the_page_loads_nothing(page: str, tree: Node) -> None:
    loading = {"src", "srcset", "action", "data", "poster", "background", "xlink:href", "style"}
    for node in tree.walk():
        assert not loading & set(node.attributes)
        assert not [name for name in node.attributes if name.startswith("on")]
    loaders = {"link", "img", "iframe", "object", "embed", "base", "form", "use", "image"}
    assert {node.tag for node in tree.walk()}.isdisjoint(loaders)
    (style,) = tree.find("style")
    assert "url(" not in style.text
    assert "@import" not in style.text
    assert not ADDRESS.search(style.text + tree.find("script")[0].text)


def test_only_the_page_s_own_script_and_style_may_act(tree: Node) -> None:
    (policy,) = tree.find("meta", **{"http-equiv": "Content-Security-Policy"})
    said = policy.attributes["content"]
    assert said.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (node,) = tree.find(tag)
        digest = base64.b64encode(hashlib.sha256(node.text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in said
    assert "unsafe" not in said


@pytest.fixture(scope="module", params=["recorded", "traced"])
def both_forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The text of a report's page, and the lines of the terminal's, none of them wrapped."""
    path = DEMO
    if request.param == "traced":
        path = write_trace(tmp_path_factory.mktemp("both") / "t.json", starved_steps(30))
    run = load_run([path])
    report = build_report(run)
    out = io.StringIO()
    render_terminal(report, out, 1000)
    page = read_page(render_html(report, compute_series(run, report)))
    return " ".join(page.text.split()), [line.strip() for line in out.getvalue().splitlines()]


def test_sentences_of_the_terminal_are_in_the_page(both_forms: tuple[str, list[str]]) -> None:
    text, lines = both_forms
    sentences = [line.removeprefix("- ").replace("`", "") for line in lines if line.endswith(".")]
    assert len(sentences) > 5
    laid_out_anew = (">", "check: ", "explains ")  # advice with its gain in a line of its own
    assert [
        line for line in sentences if line not in text and not line.startswith(laid_out_anew)
    ] == []


def test_the_parts_of_the_report_are_drawn(demo: str, ranks: str, trace: str) -> None:
    of = {name: {n.attributes.get("id") for n in read_page(p).find("section")} for name, p in (
        ("demo", demo), ("ranks", ranks), ("trace", trace))}  # fmt: skip
    both = {"verdict", "findings", "phases", "time-line", "phase-course", "rules"}
    assert both | {"stages", "memory-course", "load-course", "recorder"} <= of["demo"]
    assert both | {"lanes"} <= of["ranks"]
    assert both | {"trace", "partition"} <= of["trace"]
    assert "lanes" not in of["demo"]


def test_tagged_steps_are_marked(ranks: str) -> None:
    (line,) = read_page(ranks).find("section", id="time-line")
    says = [node.text for node in line.find("title")]
    assert [text for text in says if text.startswith("step 1: ") and text.endswith("first")]
    assert line.find("path", class_="clipped")  # twenty times as slow as the others
    assert "beyond the upper edge" in line.text


def test_names_from_a_trace_stay_text(tmp_path: Path) -> None:
    events = starved_steps(2)
    for place, name in enumerate(HOSTILE):
        events += kernel(name, 1064.0 + place, 1110.0 + 9 * place, 9 - place, 900 + place)
        events.append(event("user_annotation", name, 1000.0 + place, 5))
    folder = tmp_path / '"onload="alert(1) <b>'
    folder.mkdir()
    page = page_of(write_trace(folder / "<script>x.json", events))
    tree = read_page(page)

    assert len(tree.find("script")) == len(tree.find("style")) == 1
    assert tree.find("b") == []
    assert "<script>alert(1)</script>" in tree.text
    assert "\\u202eevil" in tree.text
    assert "\u202e" not in page
    assert all(not name.startswith("on") for node in tree.walk() for name in node.attributes)
    assert all(node.attributes["href"].startswith("#") for node in tree.find("a"))


def test_names_from_facts_stay_text(tmp_path: Path) -> None:
    folder = write_facts(tmp_path / "run", make_run(run_id="<script>alert(1)</script>"))
    meta = json.loads((folder / "meta.json").read_text())
    meta |= {"name": '"><img src=x onerror=alert(1)>', "host": "</title><script>"}
    meta["device"] = {"type": "cpu", "name": "javascript:alert(1)"}
    (folder / "meta.json").write_text(json.dumps(meta))
    for path in folder.glob("*.jsonl"):
        path.write_text(path.read_text().replace("vrt.stage1", "<svg onload=alert(1)>"))
    tree = read_page(page_of(folder))

    assert "<script>alert(1)</script>" in tree.find("title")[0].text
    assert tree.find("img") == []
    assert "<svg onload=alert(1)>" in tree.find("main")[0].text
    assert len(tree.find("script")) == 1
    assert "javascript:alert(1)" in tree.text
    assert all(node.attributes["href"].startswith("#") for node in tree.find("a"))


def test_a_long_run_makes_no_large_page() -> None:
    """100,000 steps of four ranks, a third of them tagged."""
    ranks, steps = 4, 100_000
    step = np.tile(np.arange(1, steps + 1), ranks)
    rank = np.repeat(np.arange(ranks), steps)
    is_tagged = step % 3 == 0
    ms = 10.0 + step % 97 + rank
    shared = {"rank": rank, "step": step, "num_steps": np.ones_like(step), "is_tagged": is_tagged}
    clock = pd.Categorical(np.full(len(step), "host"))
    parts = [("forward", 0.25), ("backward", 0.75), ("step", 1.0)]
    phases = [
        declared.PHASES.from_columns(
            **shared, clock=clock, ms=ms * share, name=pd.Categorical([name] * len(step))
        )
        for name, share in parts
    ]
    table = declared.STEPS.from_columns(
        **shared,
        clock=clock,
        tags=pd.Categorical(np.where(is_tagged, "gc", "")),
        num_tagged=is_tagged.astype("int64"),
        process_rss_bytes=1e9 + step,
    )
    run = run_of(phases=declared.PHASES.concat(phases), steps=table)
    report = build_report(run)
    page = render_html(report, compute_series(run, report))

    assert len(page.encode()) < MAX_BYTES
    assert "Steps 1 to 100000 " in page
    read_page(page)


def test_a_run_that_measured_nothing_says_so(tmp_path: Path) -> None:
    run = make_run(num_steps=1)
    tree = read_page(page_of(write_facts(tmp_path / "run", run)))
    assert "Cannot judge" in tree.find("section", id="verdict")[0].text
