"""Where `--write-config` writes, and numbers on the command line of diagnose_memory.py."""

import os
from pathlib import Path

import pytest
import yaml

from tests.test_diagnose_memory import DEMO, one_line, pretend


@pytest.fixture
def tool(new_tool):
    """Runs the tool in an empty folder; gives exit code, stdout and stderr."""
    return new_tool("diagnose_memory.py")


@pytest.fixture
def small_machine(monkeypatch, tmp_path_factory):
    pretend(monkeypatch, tmp_path_factory.mktemp("small"), 256 << 20)


@pytest.fixture
def roomy_machine(monkeypatch, tmp_path_factory):
    pretend(monkeypatch, tmp_path_factory.mktemp("roomy"), 64 << 30)


def test_a_file_is_replaced_only_if_it_may_be(tool, roomy_machine, tmp_path):
    taken = tmp_path / "taken.yaml"
    taken.write_text("mine")
    code, _, err = tool("--config", DEMO, "--write-config", "taken.yaml")
    assert code == 2
    assert one_line(err)
    assert "is there already" in err
    assert taken.read_text() == "mine"
    code, out, err = tool("--config", DEMO, "--write-config", "taken.yaml", "--overwrite")
    assert (code, err) == (0, "")
    assert taken.read_text() == DEMO.read_text()
    assert "Nothing had to change" in out
    assert [path.name for path in tmp_path.iterdir()] == ["taken.yaml"]


def test_a_pipe_or_a_device_is_never_replaced(tool, roomy_machine, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, _, err = tool("--config", DEMO, "--write-config", "pipe", "--overwrite")
    assert (code, one_line(err)) == (2, True)
    assert "no regular file" in err
    assert pipe.is_fifo()


def test_the_file_behind_a_link_is_replaced_and_the_link_stays(tool, roomy_machine, tmp_path):
    kept, link = tmp_path / "kept.yaml", tmp_path / "link.yaml"
    link.symlink_to("kept.yaml")
    for arguments in ((), ("--overwrite",)):
        code, _, err = tool("--config", DEMO, "--write-config", "link.yaml", *arguments)
        assert (code, err) == (0, "")
        assert str(link.readlink()) == "kept.yaml"
        assert kept.read_text() == DEMO.read_text()
        kept.write_text("old")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_descriptor_is_refused_as_a_pipe_is(tool, roomy_machine, tmp_path):
    kept, link = tmp_path / "kept", tmp_path / "link"
    with kept.open("w") as file:
        link.symlink_to(f"/proc/self/fd/{file.fileno()}")
        code, _, err = tool("--config", DEMO, "--write-config", "link", "--overwrite")
    assert (code, one_line(err)) == (2, True)
    assert "no regular file" in err
    assert link.is_symlink()
    assert kept.read_text() == ""


def test_a_dash_prints_the_configuration_alone_and_the_report_beside_it(
    tool, roomy_machine, tmp_path
):
    code, out, err = tool("--config", DEMO, "TRAIN.BATCH_SIZE=2", "--write-config", "-")
    assert code == 0
    assert yaml.safe_load(out)["TRAIN"]["BATCH_SIZE"] == 2
    assert "Memory of this machine" in err
    assert "standard output is written" in err
    assert not list(tmp_path.iterdir())


def test_a_dash_prints_nothing_that_does_not_fit(tool, small_machine):
    code, out, err = tool("--config", DEMO, "--write-config", "-")
    assert (code, out) == (1, "")
    assert "standard output is not written" in err


def test_what_could_not_be_written_is_said_before_anything_is_measured(tool, monkeypatch):
    monkeypatch.setattr("diagnostics.memory_diagnosis.view_machine", None)
    code, out, err = tool("--config", DEMO, "--write-config", "nowhere/new.yaml")
    assert (code, out) == (2, "")
    assert one_line(err)
    assert "nowhere/new.yaml: cannot be written: there is no such folder" in err


@pytest.mark.parametrize(
    ("option", "value", "range_said"),
    [
        ("--step-ms", "1e300", "above 0 and at most 1,000,000,000"),
        ("--step-ms", "nan", "above 0 and at most"),
        ("--step-ms", "-5", "above 0 and at most"),
        ("--nodes", "0", "from 1 to 65536"),
        ("--nodes", "4294967296", "from 1 to 65536"),
        ("--ranks", "21474836471", "from 1 to 1024"),
        ("--samples", "1e9", "from 0 to 1000"),
        ("--samples", "1000000", "from 0 to 1000"),
        ("--pid", "9" * 5000, "from 1 to 2147483647"),
    ],
)
def test_a_number_out_of_range_is_one_line_with_the_range(tool, option, value, range_said):
    code, out, err = tool("--config", DEMO, option, value)
    assert (code, out) == (2, "")
    assert one_line(err)
    assert range_said in err
