"""diagnose_memory.py from outside: exit codes, one-line errors, what goes to which stream."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from diagnostics import memory_diagnosis
from diagnostics.parsers.machine import HostSources
from diagnostics.report.memory_model import MachineView
from tests.diagnostics.factories import log_lines, make_run, write_facts, write_lines

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "diagnose_memory.py"
DEMO = ROOT / "configs/demo.yaml"
MIB = 1 << 20


@pytest.fixture
def tool(new_tool):
    """Runs the tool in an empty folder; gives exit code, stdout and stderr."""
    return new_tool("diagnose_memory.py")


def pretend(monkeypatch, root, limit_bytes):
    """The tool sees a machine whose cgroup of version 2 allows so much memory."""
    for name, text in {
        "proc/meminfo": "MemTotal: 268435456 kB\nMemAvailable: 260000000 kB\n",
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": str(limit_bytes),
        "sys/fs/cgroup/memory.current": str(6 * MIB),
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    real = memory_diagnosis.view_machine

    def view(pid: int | None = None, profiles_dir: Path | None = None) -> MachineView:
        return real(pid, HostSources(root=root))

    monkeypatch.setattr(memory_diagnosis, "view_machine", view)


@pytest.fixture
def small_machine(monkeypatch, tmp_path_factory):
    pretend(monkeypatch, tmp_path_factory.mktemp("small"), 256 * MIB)


@pytest.fixture
def roomy_machine(monkeypatch, tmp_path_factory):
    pretend(monkeypatch, tmp_path_factory.mktemp("roomy"), 64 << 30)


def one_line(text: str) -> bool:
    return text.count("\n") == 1 and text.startswith("diagnose_memory.py: ")


def test_without_a_run_the_machine_is_shown_all_the_same(tool):
    code, out, err = tool()
    assert (code, err) == (0, "")
    assert "What counts" in out
    assert "none to show" in out


def test_the_newest_run_and_its_memory_are_shown(tool, tmp_path):
    made = make_run()
    write_facts(tmp_path / "profiles" / made.run_id, made)
    code, out, _ = tool()
    assert code == 0
    assert made.run_id in " ".join(out.split())
    assert "read facts folder: profiles" in out.replace("\n", " ")


@pytest.mark.parametrize(
    ("config", "is_shown"), [("configs/demo.yaml", True), ("other.yaml", False), (None, True)]
)
def test_a_forecast_shows_the_newest_run_of_its_own_configuration_only(
    tool, tmp_path, config, is_shown
):
    argv = [] if config is None else ["-m", "vrtspike.train", "--config", config]
    made = make_run(meta={"argv": argv})
    folder = write_facts(tmp_path / "profiles" / made.run_id, made)
    asked = ("--config", DEMO, "DATA.ROOT=nowhere", "--json", "-")
    found = json.loads(tool(*asked)[1])
    assert (found["run"] is not None) is is_shown
    assert (f"of another configuration, {config};" in str(found["run_absent_reason"])) is not (
        is_shown
    )
    assert json.loads(tool(*asked, folder)[1])["run"] is not None, "asked for by name"


def test_a_log_can_be_named(tool, tmp_path):
    log = write_lines(tmp_path / "some.log", log_lines(make_run()))
    code, out, _ = tool(log)
    assert code == 0
    assert "Memory (growth" in out or "it recorded no memory" in out


def test_a_path_that_cannot_be_read_is_one_line_and_the_machine_is_shown(tool):
    code, out, err = tool("missing.log")
    assert code == 2
    assert one_line(err)
    assert "missing.log" in err
    assert "What counts" in out


def test_a_configuration_that_fits_ends_well(tool, roomy_machine):
    code, out, err = tool("--config", DEMO, "DATA.ROOT=nowhere")
    assert (code, err) == (0, "")
    assert "fits this machine" in out
    said = " ".join(out.split())
    assert "Assumed data: nowhere is not there." in said.partition("Machine")[0]
    assert "2103 + 1111 frames of 1280x720 pixels, 2.42 MiB of spikes each" in said
    assert "Not measured here: no sample could be timed: nowhere is not there." in said
    facts = json.loads(tool("--config", DEMO, "DATA.ROOT=nowhere", "--json", "-")[1])["forecast"]
    parts = facts["resources"][0]["parts"]
    assert {part["basis"] for part in parts} == {"assumed", "exact", "estimated"}
    assert (facts["data"]["width"], facts["data"]["height"]) == (1280, 720)


def test_a_configuration_that_does_not_fit_ends_with_1(tool, small_machine):
    code, out, err = tool("--config", DEMO)
    assert (code, err) == (1, "")
    assert "does not fit" in out
    assert "cgroup v2" in out


def test_overrides_change_the_forecast_and_come_back_in_the_advice(tool, small_machine):
    plain = json.loads(tool("--config", DEMO, "--json", "-")[1])
    batch = json.loads(tool("--config", DEMO, "TRAIN.BATCH_SIZE=2", "--json", "-")[1])
    sizes = [each["forecast"]["model"]["activation_bytes"] for each in (plain, batch)]
    assert sizes[1] > 1.5 * sizes[0]
    verify = batch["findings"][0]["advice"][-1]["verify"]
    assert f"--config {shlex.quote(str(DEMO))} TRAIN.BATCH_SIZE=" in verify


def test_ranks_multiply_what_each_process_holds(tool, roomy_machine):
    one, two = (
        json.loads(tool("--config", DEMO, "--ranks", n, "--json", "-")[1])["forecast"]
        for n in (1, 2)
    )
    assert (one["ranks"], two["ranks"]) == (1, 2)
    names = ("training processes", "weights", "optimizer state")
    first, second = (
        {part["name"]: part["size_bytes"] for part in each["resources"][0]["parts"]}
        for each in (one, two)
    )
    assert all(second[name] == 2 * first[name] for name in names)
    assert second["libraries, counted once"] == first["libraries, counted once"]
    assert set(second) - set(first) == {"launcher of the ranks"}


def test_an_unreadable_machine_is_too_little_to_judge(tool, monkeypatch, tmp_path):
    real = memory_diagnosis.view_machine
    empty = HostSources(root=tmp_path, affinity=lambda: None, cores_online=lambda: None)
    monkeypatch.setattr(memory_diagnosis, "view_machine", lambda pid=None, **_: real(pid, empty))
    code, out, err = tool("--config", DEMO, "DATALOADER.TOTAL_WORKERS=0")
    assert err == ""
    assert "Cannot judge" in out
    assert code == (3 if "Cannot judge" in out else 0)


def test_fail_on_turns_a_warning_into_1(tool, roomy_machine):
    arguments = (
        "--config",
        DEMO,
        "DATALOADER.TOTAL_WORKERS=500",
        "DATALOADER.TRAIN_PREFETCH_FACTOR=1",
    )
    _, out, _ = tool(*arguments)
    assert "CF102" in out
    assert tool(*arguments, "--fail-on", "warn")[0] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DATA: {ROOT: x}\nTRAIN: {TOTAL_STEPS: 1, BATCHSIZE: 2}\n", "BATCH_SIZE"),
        ("- a list\n", "must be a mapping"),
        ("DATA: [\n", "not valid YAML"),
        ("", "empty"),
    ],
)
def test_a_broken_configuration_is_one_line(tool, tmp_path, text, said):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    code, out, err = tool("--config", path)
    assert (code, out) == (2, "")
    assert one_line(err)
    assert said in err


@pytest.mark.parametrize(
    "override", ["DATA.CROP_SIZE=32", "DATA.CROP_SCHEDULE=[{UNTIL_EPOCH: 2, CROP_SIZE: 32}]"]
)
def test_a_crop_that_the_trainer_refuses_is_refused_here(tool, override):
    code, out, err = tool("--config", DEMO, override)
    assert (code, out) == (2, "")
    assert one_line(err)
    assert "height 32: must be divisible by 8 and at least 40" in err


def test_a_missing_configuration_is_one_line(tool):
    code, out, err = tool("--config", "nope.yaml")
    assert (code, out) == (2, "")
    assert one_line(err)
    assert "nope.yaml" in err


def test_a_root_that_is_no_data_set_is_one_line(tool, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = tool("--config", DEMO, "DATA.ROOT=empty")
    assert (code, out) == (2, "")
    assert one_line(err)
    assert "no split" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--pid", "x"),
        ("--pid", "0"),
        ("--pid", str((1 << 31) - 1)),
        ("--ranks", "0", "--config", str(DEMO)),
        ("--ranks", "2"),
        ("TRAIN.BATCH_SIZE=2",),
        ("--watching",),
        ("--watch", "--config", str(DEMO)),
        ("--watch", "--pid", str((1 << 31) - 1)),
        ("--config", str(DEMO), "TRAIN.BATCH_SIZE=none"),
        ("--config", str(DEMO), "TRAIN.BATCHES=2"),
    ],
)
def test_wrong_arguments_are_one_line(tool, arguments):
    code, out, err = tool(*arguments)
    assert (code, out) == (2, "")
    assert one_line(err)


def test_pid_shows_the_tree_of_any_process(tool):
    code, out, _ = tool("--pid", os.getpid())
    assert code == 0
    assert f"job of process {os.getpid()}" in out


def test_json_alone_goes_to_stdout(tool):
    code, out, err = tool("--json", "-")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert facts["forecast"] == {}
    assert facts["resources"]["host"]["ram_total_bytes"] > 0


def test_json_to_a_file_is_written_beside_the_report(tool, roomy_machine, tmp_path):
    code, out, _ = tool("--json", "report.json", "--config", DEMO, "DATA.ROOT=nowhere")
    assert code == 0
    assert "What counts" in out
    assert json.loads((tmp_path / "report.json").read_text())["forecast"]["verdict"] == "fits"


def test_a_trainer_that_runs_is_found_with_its_worker(tool, tmp_path):
    """A stand-in with the trainer's command line, forking a process as DataLoader names it."""
    package = tmp_path / "vrtspike"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "train.py").write_text(
        "import os, sys\n"
        "if os.fork() == 0:\n"
        "    open('/proc/self/comm', 'w').write('pt_data_worker')\n"
        "os.write(1, b'ready\\n')\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-m", "vrtspike.train"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(2):
            assert process.stdout.readline() == "ready\n"
        facts = json.loads(tool("--json", "-", "--pid", process.pid)[1])
        process.stdin.close()
    rows = facts["resources"]["processes"]
    assert {(row["role"], row["job_pid"]) for row in rows} == {
        ("main", process.pid),
        ("worker", process.pid),
    }
    assert all(row["rss_bytes"] > 0 for row in rows)


def test_help_names_the_exit_codes():
    result = subprocess.run(
        [sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True
    )
    assert "does not fit" in result.stdout
    for flag in ("--config", "--pid", "--ranks", "--json", "--fail-on", "--width", "--no-color"):
        assert flag in result.stdout


def test_every_plan_of_the_guide_gets_a_verdict(tool):
    for path in sorted((ROOT / "configs/deblur").glob("*.yaml")):
        assert yaml.safe_load(path.read_text())
        facts = json.loads(tool("--config", path, "--json", "-")[1])
        assert facts["forecast"]["verdict"] in ("fits", "tight", "does not fit")


def test_html_is_one_file(tool, tmp_path):
    code, out, err = tool("--html", "memory.html")
    assert (code, err) == (0, "")
    assert "Report as a page: memory.html" in out
    page = (tmp_path / "memory.html").read_text("utf-8")
    assert "Memory of this machine" in page
    assert "What to do, in this order" in page


def test_the_configuration_that_is_written_fits_and_keeps_its_comments(tool, monkeypatch, tmp_path):
    """The law of --write-config: forecast again, the new file fits, whatever was too large."""
    pretend(monkeypatch, tmp_path / "machine", 5 << 30)
    text = DEMO.read_text().replace("  TOTAL_WORKERS: 1\n", "  TOTAL_WORKERS: 16 # many\n")
    text = text.replace("DATA:\n", "DATA:\n  USE_RAM_CACHE: true\n  CACHE_SIZE_GB: 6.0 # all\n")
    (tmp_path / "mine.yaml").write_text(text)
    arguments = ("--config", "mine.yaml", "TRAIN.BATCH_SIZE=2")
    code, out, err = tool(*arguments, "--write-config", "new.yaml")
    assert (code, err) == (1, "")
    assert "new.yaml is written; its forecast: fits." in out
    assert "CACHE_SIZE_GB: 6 -> " in out
    new = (tmp_path / "new.yaml").read_text()
    for line in text.splitlines():
        if line.startswith("#"):
            assert line in new
    assert "# many" in new
    again = tool("--config", "new.yaml")
    assert again[0] == 0
    assert "new.yaml fits this machine" in " ".join(again[1].split())
    assert "CF10" not in again[1].partition("What to do")[2].replace("CF103", "")


def test_a_new_configuration_says_what_it_leaves_out_and_why(tool, roomy_machine, tmp_path):
    arguments = ("--config", DEMO, "--write-config", "new.yaml", "--json", "made.json")
    code, out, err = tool(*arguments)
    assert (code, err) == (0, "")
    said = " ".join(out.partition("New configuration")[2].split())
    assert "CF104 is not followed: DATA.USE_RAM_CACHE stays false, true is proposed (a note" in said
    (left,) = [
        each
        for each in json.loads((tmp_path / "made.json").read_text())["rewrite"]["left_out"]
        if each["rule"] == "CF104"
    ]
    assert (left["key"], left["current"], left["proposed"]) == ("DATA.USE_RAM_CACHE", False, True)
    assert "DATA:" in (tmp_path / "new.yaml").read_text()


def test_a_command_that_checks_an_advice_asks_for_the_same_ranks(tool, small_machine):
    found = json.loads(tool("--config", DEMO, "--ranks", "2", "--nodes", "3", "--json", "-")[1])
    checks = [
        advice["verify"]
        for finding in found["findings"]
        for advice in finding["advice"]
        if advice["verify"] and "--config" in advice["verify"]
    ]
    assert checks
    assert all("--ranks 2 --nodes 3" in each for each in checks)


def test_what_cannot_be_made_to_fit_is_not_written(tool, small_machine, tmp_path):
    code, out, err = tool("--config", DEMO, "--write-config", "new.yaml", "--json", "made.json")
    assert (code, err) == (1, "")
    assert "new.yaml is not written" in out
    assert not (tmp_path / "new.yaml").exists()
    rewrite = json.loads((tmp_path / "made.json").read_text())["rewrite"]
    assert (rewrite["is_written"], rewrite["verdict"]) == (False, "does not fit")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--write-config", "new.yaml"),
        ("--config", str(DEMO), "--write-config", str(DEMO)),
        ("--config", str(DEMO), "--write-config", "a.json", "--json", "a.json"),
        ("--nodes", "2"),
        ("--step-ms", "20"),
        ("--config", str(DEMO), "--samples", "x"),
        ("--config", str(DEMO), "--write-config", "-", "--json", "-"),
    ],
)
def test_wrong_arguments_of_a_forecast_are_one_line(tool, arguments):
    code, out, err = tool(*arguments)
    assert (code, out) == (2, "")
    assert one_line(err.splitlines()[-1] + "\n")
