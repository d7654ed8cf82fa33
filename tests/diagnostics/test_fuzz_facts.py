"""Damaged facts and logs: a report or one line that says why not, never a traceback.

`VRTSPIKE_FUZZ_CASES` sets how many; a failing one is named by its seed.
"""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

import analyze_performance
import diagnose_memory
from diagnostics.command_line import run_tool
from tests.diagnostics.mutations import damaged_bytes, damaged_lines, damaged_record

DEMO = Path(__file__).parents[1] / "data" / "demo_run"
NUM_CASES = int(os.environ.get("VRTSPIKE_FUZZ_CASES", "300")) // 20
TOOLS = {"performance": analyze_performance.main, "memory": diagnose_memory.main}


def damage(path, chance):
    if path.suffix == ".json":
        record = json.loads(path.read_text())
        for _ in range(chance.choice((1, 5, 20))):
            record = damaged_record(record, chance)
        path.write_text(json.dumps(record))
    elif path.suffix == ".jsonl":
        lines = damaged_lines(path.read_text().splitlines(), chance)
        path.write_text("\n".join(lines) + "\n", "utf-8", "replace")
    else:
        path.write_bytes(damaged_bytes(path.read_bytes(), chance))


@pytest.mark.parametrize("tool", list(TOOLS))
def test_reports_of_damaged_runs(tmp_path, capsys, tool):
    for seed in range(NUM_CASES):
        chance = random.Random(seed)
        folder = tmp_path / str(seed)
        shutil.copytree(DEMO, folder)
        run = next(each for each in (folder / "profiles").iterdir() if each.is_dir())
        files = [*run.glob("*.json"), *run.glob("*.jsonl"), *folder.glob("outputs/logs/*.log")]
        for path in chance.sample(sorted(files), 2):
            damage(path, chance)
        asked = [str(run), "--html", str(folder / "report.html")]
        code = run_tool("tool", lambda _, asked=asked: TOOLS[tool](asked))
        said = capsys.readouterr()
        assert code in (0, 2, 3), seed
        assert "Traceback" not in said.err, seed
        assert said.err.count("\n") <= 1, seed
