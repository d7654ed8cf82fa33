"""TensorBoard in a real browser: a recorded run's scalars, and the report as text."""

import html
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
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the page"),
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


def page_text(server: str, tab: str, folder: Path) -> str:
    command = [CHROMIUM, *OFFLINE, f"--user-data-dir={folder}", "--virtual-time-budget=20000"]
    page = subprocess.run(
        [*command, "--window-size=1400,1600", "--dump-dom", f"{server}/#{tab}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=180,
    ).stdout
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def test_report_is_shown_as_text(server, tmp_path):
    assert "report" in tags_of(server, "text")
    text = page_text(server, "text", tmp_path)
    for words in ("Phases of the step", "backward", "vrt.stage1", "Slowest stages"):
        assert words in text


def test_scalars_of_the_run_are_shown(server, tmp_path):
    tags = tags_of(server, "scalars")
    for tag in (
        "time/step_ms",
        "stages_ms/vrt.stage8",
        "data/data_wait_ms",
        "throughput/samples_per_s",
        "memory/process_rss_mib",
    ):
        assert tag in tags
    text = page_text(server, "scalars", tmp_path)
    for group in ("stages_ms", "phases_ms", "throughput", "memory"):
        assert group in text
