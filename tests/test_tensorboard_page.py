"""TensorBoard in a real browser: a run's scalars, its report as text and as a tab of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.browser import CHROMEDRIVER, CHROMIUM, browsing

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "tests" / "data" / "demo_run"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or CHROMEDRIVER is None,
        reason="no Chromium with chromedriver on this machine to open the page",
    ),
]


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    work = tmp_path_factory.mktemp("tensorboard")
    profiles = work / "profiles"
    shutil.copytree(RUN / "profiles", profiles)
    (profiles / "broken").mkdir()
    (profiles / "broken" / "meta.json").write_text("{}")
    subprocess.run(
        [sys.executable, str(ROOT / "analyze_performance.py"), "--tensorboard"],
        cwd=work,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return profiles


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """A folder in which this checkout's entry points lie as pip would install them."""
    folder = tmp_path_factory.mktemp("installed")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, entries in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def server(logdir, declared):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Loaded once, before the first page is served: nothing to wait for.
    loading = ["--load_fast=false", "--reload_interval=0", "--reload_task=blocking"]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), *loading]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--host", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(declared), str(ROOT)])},
    )
    for line in process.stderr:
        if "Press CTRL+C" in line:
            break
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def tags_of(server: str, plugin: str) -> str:
    with urllib.request.urlopen(f"{server}/data/plugin/{plugin}/tags", timeout=60) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def test_report_is_shown_as_text(server, browser):
    assert "report" in tags_of(server, "text")
    wanted = ("Phases of the step", "backward", "vrt.stage1", "Slowest stages")
    text = browser.text_of(f"{server}/#text", wanted)
    assert [words for words in wanted if words not in text] == []


def test_scalars_of_the_run_are_shown(server, browser):
    tags = tags_of(server, "scalars")
    for tag in (
        "time/step_ms",
        "stages_ms/vrt.stage8",
        "data/data_wait_ms",
        "throughput/samples_per_s",
        "memory/process_rss_mib",
    ):
        assert tag in tags
    wanted = ("stages_ms", "phases_ms", "throughput", "memory")
    text = browser.text_of(f"{server}/?reload#scalars", wanted)
    assert [words for words in wanted if words not in text] == []


def test_the_diagnosis_has_a_tab_of_its_own(server, browser):
    browser.open(f"{server}/#diagnosis")
    browser.enter_frame("iframe")
    choice = browser.text_with(("broken", "train_20261122_015337_8b68"))
    assert "train_20261122_015337_8b68" in choice
    pick = """
        const [name] = arguments, choice = document.querySelector("select");
        choice.value = name;
        choice.dispatchEvent(new Event("change"));
    """
    browser.run(pick, "broken")
    assert "No report: " in browser.text_with(("No report: ",))
    browser.run(pick, "train_20261122_015337_8b68")
    browser.enter_frame("iframe")
    wanted = ("Verdict", "Time line of the steps", "vrt.stage1")
    text = browser.text_with(wanted)
    assert [words for words in wanted if words not in text] == []
    assert browser.run("return document.querySelectorAll('[role=slider]').length") > 0
    try:
        reach = browser.run("return parent.document.title")
    except urllib.error.HTTPError:
        reach = None  # the browser forbids it
    assert reach is None
