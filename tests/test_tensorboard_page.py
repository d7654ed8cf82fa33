"""TensorBoard in a real browser: a recorded run's scalars, and the report as text."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "tests" / "data" / "demo_run"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
STARTED = re.compile(r"started successfully on port (\d+)")
GATHER_TEXT = """
const [words, done] = arguments;
const textOf = (node) => {
  if (node.nodeType === Node.TEXT_NODE) return node.textContent + " ";
  if (["STYLE", "SCRIPT"].includes(node.nodeName)) return "";
  const inside = [...(node.shadowRoot ? [node.shadowRoot] : []), ...node.childNodes];
  return inside.map(textOf).join("");
};
const end = Date.now() + 60000;
const look = () => {
  const text = textOf(document.body);
  if (words.every((word) => text.includes(word)) || Date.now() > end) done(text);
  else setTimeout(look, 250);
};
look();
"""
OFFLINE = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]

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
    subprocess.run(
        [sys.executable, str(ROOT / "analyze_performance.py"), "--tensorboard"],
        cwd=work,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return profiles


@pytest.fixture(scope="module")
def server(logdir):
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


class Browser:
    """A headless Chromium behind chromedriver, spoken to by the WebDriver protocol (HTTP)."""

    def __init__(self, driver: str, profile: Path) -> None:
        arguments = [*OFFLINE, f"--user-data-dir={profile}", "--window-size=1400,1600"]
        options = {"binary": CHROMIUM, "args": arguments}
        always = {"browserName": "chrome", "goog:chromeOptions": options}
        self._base = driver
        answer = self._post("/session", {"capabilities": {"alwaysMatch": always}})
        self._base = f"{driver}/session/{answer['sessionId']}"
        self._post("/timeouts", {"script": 120_000, "pageLoad": 120_000})

    def text_of(self, url: str, words: tuple[str, ...]) -> str:
        """The text of the page, shadow trees included, once it holds the words or 60 s passed."""
        self._post("/url", {"url": url})
        return self._post("/execute/async", {"script": GATHER_TEXT, "args": [list(words)]})

    def quit(self) -> None:
        request = urllib.request.Request(self._base, method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()

    def _post(self, path: str, body: dict):
        request = urllib.request.Request(
            self._base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=180) as answer:
            return json.load(answer)["value"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = subprocess.Popen(
        [CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    port = next(found[1] for line in driver.stdout if (found := STARTED.search(line)))
    page = Browser(f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("chromium"))
    yield page
    page.quit()
    os.killpg(driver.pid, signal.SIGTERM)
    driver.wait()


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
