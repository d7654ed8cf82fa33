"""Reads the commands out of the README, and runs those that a CPU can run.

A block of commands is marked by the HTML comment before it: `ci: run` (this script runs it),
`ci: parse` (needs data or a GPU; a test checks that its arguments parse and its files exist),
`ci: serve` (a server; a browser test starts it), `ci: run by .ci/run`.
"""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(?:<!-- ci: (?P<mark>[^\n]*?) -->\n)?```sh\n(?P<body>.*?)```", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command line of the README and its block's mark; None where the block has none."""

    text: str
    mark: str | None


def commands(readme: str) -> list[Command]:
    """Every command line of every `sh` block, in order."""
    return [
        Command(text=line, mark=block["mark"])
        for block in BLOCK.finditer(readme)
        for line in block["body"].splitlines()
        if line and not line.startswith("#")
    ]


def main() -> int:
    """Run the commands marked `run`, each in the environment that the ones before it left."""
    runnable = [
        c.text for c in commands((ROOT / "README.md").read_text("utf-8")) if c.mark == "run"
    ]
    prelude = [text for text in runnable if text.startswith("source ")]
    for text in runnable:
        if text in prelude:
            continue
        print(f"$ {text}", flush=True)
        started = time.monotonic()
        script = "\n".join(["set -e", *prelude, text])
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, check=False, env={**os.environ, "PYTHONUTF8": "1"}
        )
        print(f"[{time.monotonic() - started:.1f} s]", flush=True)
        if done.returncode:
            print(f"README command failed with {done.returncode}: {text}", file=sys.stderr)
            return 1
    print(f"{len(runnable) - len(prelude)} README commands ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
