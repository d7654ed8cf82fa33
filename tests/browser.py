"""A headless Chromium behind chromedriver, spoken to by the WebDriver protocol (HTTP)."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


class Browser:
    """One session; scripts run in the chosen frame."""

    def __init__(self, driver: str, profile: Path) -> None:
        arguments = [*OFFLINE, f"--user-data-dir={profile}", "--window-size=1400,1600"]
        options = {"binary": CHROMIUM, "args": arguments}
        always = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._base = driver
        answer = self._post("/session", {"capabilities": {"alwaysMatch": always}})
        self._base = f"{driver}/session/{answer['sessionId']}"
        self._post("/timeouts", {"script": 120_000, "pageLoad": 120_000})

    def open(self, url: str) -> None:
        self._post("/url", {"url": url})

    def text_of(self, url: str, words: tuple[str, ...]) -> str:
        """The text of the page, shadow trees included, once it holds the words or 60 s passed."""
        self.open(url)
        return self.text_with(words)

    def text_with(self, words: tuple[str, ...]) -> str:
        """The text of the chosen frame, once it holds the words or 60 s passed."""
        return self._post("/execute/async", {"script": GATHER_TEXT, "args": [list(words)]})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the script returns."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._post("/goog/cdp/execute", {"cmd": name, "params": parameters})

    def show_as(self, width: int, scheme: str = "light", media: str = "screen") -> None:
        """The width of the window in pixels, light or dark, screen or print."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)

    def press(self, *keys: str) -> None:
        """Keys by their WebDriver code points, one after the other."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": strokes}]
        self._post("/actions", {"actions": actions})

    def enter_frame(self, selector: str) -> None:
        """Scripts and texts are of this frame from now on, once there is one (60 s at most)."""
        script = """
            const [selector, done] = arguments, end = Date.now() + 60000;
            const look = () => {
              const found = document.querySelector(selector);
              if (found || Date.now() > end) done(found);
              else setTimeout(look, 100);
            };
            look();
        """
        found = self._post("/execute/async", {"script": script, "args": [selector]})
        assert found, f"no {selector}"
        self._post("/frame", {"id": found})

    def screenshot(self, path: Path) -> None:
        """The whole page as a picture."""
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self) -> list[str]:
        """What the browser logged since the last call: blocked loads, errors of scripts."""
        return [each["message"] for each in self._post("/se/log", {"type": "browser"})]

    def quit(self) -> None:
        request = urllib.request.Request(self._base, method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()

    def _post(self, path: str, body: dict) -> Any:
        request = urllib.request.Request(
            self._base + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=180) as answer:
            return json.load(answer)["value"]


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """A browser with an empty profile; both its processes end with the block."""
    driver = subprocess.Popen(
        [CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        port = next(found[1] for line in driver.stdout if (found := STARTED.search(line)))
        page = Browser(f"http://127.0.0.1:{port}", profile)
        yield page
        page.quit()
    finally:
        os.killpg(driver.pid, signal.SIGTERM)
        driver.wait()
