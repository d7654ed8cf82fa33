"""analyze_performance.py from outside: exit codes, one-line errors, what goes to which stream."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagnostics.rules.catalogue import DOCUMENTED
from vrtspike.profiling.records import RunRecord, StagesRecord, StepRecord, to_line, to_meta_json

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "analyze_performance.py"
PHASES = {
    "data_wait": 60.0,
    "h2d": 0.0,
    "forward": 10.0,
    "loss": 0.0,
    "backward": 20.0,
    "optimizer": 9.0,
    "other": 1.0,
}


@pytest.fixture
def tool(new_tool):
    """Runs the tool in an empty folder; gives exit code, stdout and stderr."""
    return new_tool("analyze_performance.py")


def write_run(folder: Path, steps=30, started_at="2026-01-02T03:04:05+00:00") -> Path:
    folder.mkdir(parents=True)
    meta = RunRecord(
        run_id=folder.name,
        started_at=started_at,
        status="finished",
        device={"type": "cpu", "name": "Test CPU"},
    )
    (folder / "meta.json").write_text(to_meta_json(meta), "utf-8")
    records = [
        StepRecord(
            step=step,
            start_unix_s=1.0 + step,
            micro_batches=1,
            samples=1,
            clock="host",
            host_ms={**PHASES, "step": 100.0},
            tags=("first",) if step == 1 else (),
            loss=0.1,
        )
        for step in range(1, steps + 1)
    ]
    stages = [
        StagesRecord(
            step=record.step,
            phase="forward",
            clock="host",
            ms={"vrt.stage1": 9.0, "forward.other": 1.0},
            calls={"vrt.stage1": 1},
        )
        for record in records
    ]
    (folder / "steps.rank0.jsonl").write_text("".join(map(to_line, records)), "utf-8")
    (folder / "spans.rank0.jsonl").write_text("".join(map(to_line, stages)), "utf-8")
    return folder


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "profiles" / "run_a")


def is_one_line(errors):
    return errors.startswith("analyze_performance.py: ") and errors.count("\n") == 1


def test_without_a_path_the_newest_run_is_reported(tool, run_folder, tmp_path):
    write_run(tmp_path / "profiles" / "run_b", started_at="2027-01-02T03:04:05+00:00")
    write_run(tmp_path / "profiles" / "run_c", started_at="2026-06-02T03:04:05+00:00")
    code, out, err = tool()
    assert (code, err) == (0, "")
    assert out.startswith("Performance of run run_b\n")


def test_another_profiles_dir(tool, run_folder):
    code, out, _ = tool("--profiles-dir", run_folder.parent)
    assert code == 0
    assert "run_a" in out


@pytest.mark.parametrize(
    ("fail_on", "code"), [("none", 0), ("note", 1), ("warn", 1), ("critical", 1)]
)
def test_fail_on(tool, run_folder, fail_on, code):
    assert tool(run_folder, "--fail-on", fail_on)[0] == code


def test_too_little_evidence_is_exit_code_3(tool, tmp_path):
    code, out, err = tool(write_run(tmp_path / "run", steps=2))
    assert (code, err) == (3, "")
    assert "Cannot judge" in out


def test_json_on_stdout_is_alone_there(tool, run_folder):
    code, out, err = tool(run_folder, "--json", "-")
    page = json.loads(out)
    assert (code, err) == (0, "")
    assert page["schema_version"] == 1
    assert page["findings"][0]["rule"] == "DL001"


def test_json_in_a_file_comes_beside_the_report(tool, run_folder, tmp_path):
    code, out, _ = tool(run_folder, "--json", tmp_path / "report.json")
    assert code == 0
    assert "Verdict" in out
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["run"]["id"] == "run_a"


def test_json_on_stdout_stays_alone_with_tensorboard(tool, run_folder):
    code, out, _ = tool(run_folder, "--json", "-", "--tensorboard")
    assert code == 0
    assert json.loads(out)
    assert list(run_folder.glob("events.out.tfevents.*"))


def test_what_can_be_read_is_reported_beside_what_cannot(tool, run_folder, tmp_path):
    code, out, err = tool(run_folder, tmp_path / "gone.log")
    assert code == 2
    assert is_one_line(err)
    assert "gone.log" in err
    assert "Verdict" in out


def bad_input(folder: Path, kind: str) -> Path:
    if kind == "hostile name":
        return folder / "two\nlines\x1b[2J"
    path = folder / kind.replace(" ", "_")
    match kind:
        case "empty log":
            path.write_bytes(b"")
        case "binary file":
            path.write_bytes(bytes(range(256)) * 40)
        case "log of something else":
            path.write_text("nothing of interest\n" * 3, "utf-8")
        case "folder without runs":
            path.mkdir()
        case "other schema":
            path.mkdir()
            (path / "meta.json").write_text('{"schema":99,"run_id":"x"}', "utf-8")
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "missing log",
        "empty log",
        "binary file",
        "log of something else",
        "folder without runs",
        "other schema",
        "hostile name",
    ],
)
def test_an_input_that_cannot_be_used_is_one_line_and_exit_code_2(tool, tmp_path, kind):
    code, out, err = tool(bad_input(tmp_path, kind))
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert "\x1b" not in err


def test_no_run_at_all_is_one_line_and_exit_code_2(tool):
    code, out, err = tool()
    assert (code, out) == (2, "")
    assert is_one_line(err)


def test_a_target_that_cannot_be_written_is_one_line_and_exit_code_2(tool, run_folder):
    code, _, err = tool(run_folder, "--json", "no/such/folder/report.json")
    assert code == 2
    assert is_one_line(err)


@pytest.mark.parametrize("option", ["--lang"])
def test_what_comes_later_is_not_pretended(tool, run_folder, option):
    code, out, err = tool(run_folder, option, "x")
    assert (code, out) == (2, "")
    assert is_one_line(err)


def test_rules_are_listed_and_explained(tool):
    code, out, _ = tool("--list-rules")
    assert code == 0
    assert len(out.splitlines()) == len(DOCUMENTED)
    assert "HM101  machine-memory-nearly-full" in out.splitlines()
    code, out, _ = tool("--explain", "dl001")
    assert code == 0
    assert out.startswith("# DL001 data-loading-exposed")
    assert "## False alarms" in out
    code, out, _ = tool("--explain", "forecast-exceeds-gpu-memory")
    assert code == 0
    assert out.startswith("# GM101 forecast-exceeds-gpu-memory")
    assert "| tight | 0.8 share of the limit |" in out


def test_an_unknown_rule_is_a_bad_argument(tool):
    code, out, err = tool("--explain", "XX\n999")
    assert (code, out) == (2, "")
    assert is_one_line(err)


def test_the_width_can_be_chosen(tool, run_folder):
    _, out, _ = tool(run_folder, "--width", "60")
    assert max(map(len, out.splitlines())) <= 60


def run_script(*arguments, **environment):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env={"PATH": os.environ.get("PATH", ""), **environment},
        capture_output=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )


def test_the_script_runs_from_the_checkout_where_no_encoding_is_set(run_folder):
    odd = run_folder.with_name("ru\u00f1-\U0001f600")
    run_folder.rename(odd)
    done = run_script(
        odd, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="ascii"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Verdict" in done.stdout
    assert done.stdout.isascii()


def test_a_reader_that_leaves_early_is_no_error(run_folder):
    command = f"'{sys.executable}' '{SCRIPT}' '{run_folder}' --json - | head -c 1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False, timeout=120)
    assert (done.stdout, done.stderr) == (b"{", b"")


def test_html_is_one_file_beside_the_terminal(tool, run_folder, tmp_path):
    code, out, err = tool(run_folder, "--html", "report.html")
    assert (code, err) == (0, "")
    assert "Report as a page: report.html" in out
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "DL001" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["profiles", "report.html"]


def test_html_is_written_beside_json_without_a_word(tool, run_folder):
    code, out, _ = tool(run_folder, "--html", "report.html", "--json", "-")
    assert code == 0
    assert json.loads(out)["schema_version"] == 1


def test_html_that_cannot_be_written_is_one_line(tool, run_folder):
    code, _, err = tool(run_folder, "--html", "no/such/folder/report.html")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "cannot be written" in err


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize("script", [SCRIPT, ROOT / "diagnose_memory.py"])
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_files_are_written_though_the_report_goes_nowhere(tmp_path, script, output):
    run, page = write_run(tmp_path / "train_1"), tmp_path / "report.json"
    done = subprocess.run(
        ["sh", "-c", f'"$0" "$@" {output}', sys.executable, script, run, "--json", page],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"the output cannot be written" in done.stderr
    assert "findings" in json.loads(page.read_text())
