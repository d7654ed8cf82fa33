"""The set-up script, run for real against stand-in interpreters: no network, no packages."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = (
    *("cat", "cksum", "cp", "df", "dirname", "grep", "ls", "mkdir"),
    *("mv", "ps", "rm", "sed", "sh", "tail", "touch", "uname"),
)

# Answers what the script asks of an interpreter; VERSION and ABLE are filled in per stand-in.
FAKE_PYTHON = r"""#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
    *version_info*) printf 'VERSION ABLE' ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *" index versions torch") echo "$OFFERED_TORCH" ;;
    *" install "*)
        case "${PIP_ENDS:-well}" in
            well) ;;
            killed) kill -9 "$PPID" ;;
            *) printf '2026-01-01T00:00:00,0 %s\n' "$PIP_ENDS" >.venv/setup.log; exit 1 ;;
        esac ;;
esac
"""


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def write_python(folder: Path, version: str, able: str = "yes", name: str = "python3") -> Path:
    text = FAKE_PYTHON.replace("VERSION", version.replace(".", " ")).replace("ABLE", able)
    return write_program(folder / name, text)


class Clone:
    """A checkout in a folder with a space in its name, and the machine around it."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "a clone"
        self.tools = tmp_path / "tools"
        self.pythons = tmp_path / "python with space"
        self.calls = tmp_path / "calls"
        self.path = [self.tools, self.pythons]
        (self.root / "scripts").mkdir(parents=True)
        self.tools.mkdir()
        self.pythons.mkdir()
        shutil.copy(ROOT / "scripts/bootstrap.sh", self.root / "scripts")
        (self.root / "requirements.lock").write_text("torch==2.13.0\n")
        (self.root / "pyproject.toml").write_text("")
        for tool in TOOLS:
            where = shutil.which(tool)
            if where is not None:
                (self.tools / tool).symlink_to(where)
        self.replace_df(free_mib=100_000)

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def replace_df(self, free_mib: int) -> None:
        (self.tools / "df").unlink(missing_ok=True)
        row = f"/dev/my disk 999 1 {free_mib * 1024} 5% /mount point"
        write_program(self.tools / "df", f"#!/bin/sh\necho Filesystem\necho '{row}'\n")

    def set_up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        return subprocess.run(
            [self.tools / "sh", "scripts/bootstrap.sh"],
            cwd=self.root,
            env={
                "PATH": ":".join(map(str, self.path)),
                "CALLS": str(self.calls),
                "OFFERED_TORCH": "2.13.0",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def refusal(self, **environment: str) -> str:
        """Runs a set-up that must fail, and returns its last line, which says why."""
        result = self.set_up(**environment)
        assert result.returncode == 2, result.stderr
        return result.stderr.splitlines()[-1]

    def installs(self) -> int:
        return self.calls.read_text().count(" install ")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


@pytest.fixture
def ready(clone: Clone) -> Clone:
    write_python(clone.pythons, "3.11")
    result = clone.set_up()
    assert result.returncode == 0, result.stderr
    return clone


def test_without_any_python_it_says_so(clone: Clone) -> None:
    assert "no Python 3.11 to 3.14 on PATH (found: none)" in clone.refusal()


def test_an_old_and_a_too_new_python_are_named(clone: Clone) -> None:
    write_python(clone.pythons, "3.6")
    write_python(clone.pythons, "3.99", name="python")
    line = clone.refusal()
    assert f"{clone.pythons}/python3 is 3.6, {clone.pythons}/python is 3.99" in line
    assert not clone.venv.exists()


def test_a_python_that_does_not_start_is_passed_over(clone: Clone) -> None:
    write_program(clone.tools / "python3", "#!/bin/sh\necho not installed >&2\nexit 127\n")
    write_python(clone.pythons, "3.12")
    assert clone.set_up().returncode == 0


def test_without_the_venv_module_it_names_the_package(clone: Clone) -> None:
    write_python(clone.pythons, "3.11", able="no")
    assert "apt install python3-venv" in clone.refusal()


def test_a_python_without_venv_yields_to_a_later_one_that_has_it(clone: Clone) -> None:
    write_python(clone.tools, "3.11", able="no")
    whole = write_python(clone.pythons, "3.11")
    assert clone.set_up().returncode == 0
    assert (clone.venv / ".own").read_text().strip() == str(whole)


def test_the_asked_python_is_taken(clone: Clone, tmp_path: Path) -> None:
    write_python(clone.pythons, "3.11")
    asked = write_python(tmp_path / "else where", "3.12")
    assert clone.set_up(PYTHON=str(asked)).returncode == 0
    assert (clone.venv / ".own").read_text().strip() == str(asked)


def test_the_environment_is_not_made_from_itself(clone: Clone) -> None:
    whole = write_python(clone.pythons, "3.11")
    assert clone.set_up(PIP_ENDS="killed").returncode != 0
    write_python(clone.venv / "bin", "3.11")
    clone.path.insert(0, clone.venv / "bin")
    assert clone.set_up().returncode == 0
    assert (clone.venv / ".own").read_text().strip() == str(whole)


@pytest.mark.parametrize(
    ("version", "able", "said"),
    [("3.10", "yes", "is Python 3.10"), ("3.11", "no", "python3-venv"), (None, "", "no such")],
)
def test_an_asked_python_that_does_not_do_is_refused(
    clone: Clone, tmp_path: Path, version: str | None, able: str, said: str
) -> None:
    write_python(clone.pythons, "3.11")
    asked = tmp_path / "other" / "python3"
    if version is not None:
        write_python(asked.parent, version, able)
    assert said in clone.refusal(PYTHON=str(asked))


def test_another_asked_python_renews_the_environment(ready: Clone, tmp_path: Path) -> None:
    asked = write_python(tmp_path / "other", "3.12")
    assert ready.set_up(PYTHON=str(asked)).returncode == 0
    assert (ready.venv / ".own").read_text().strip() == str(asked)
    assert ready.set_up(PYTHON=str(asked)).returncode == 0
    assert ready.installs() == 0


def test_the_second_set_up_installs_nothing(ready: Clone) -> None:
    result = ready.set_up()
    assert (result.returncode, result.stderr, ready.installs()) == (0, "", 0)


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_list_updates_in_place(ready: Clone, name: str) -> None:
    (ready.venv / "kept").touch()
    with (ready.root / name).open("a") as file:
        file.write("# changed\n")
    assert ready.set_up().returncode == 0
    assert ready.installs() > 0
    assert (ready.venv / "kept").exists()


def test_a_moved_checkout_is_installed_again(ready: Clone) -> None:
    ready.root = ready.root.rename(ready.root.with_name("moved"))
    assert ready.set_up().returncode == 0
    assert ready.installs() > 0


def test_another_torch_index_reinstalls_torch(ready: Clone) -> None:
    index = "https://example.org/cpu"
    assert ready.set_up(TORCH_INDEX=index).returncode == 0
    assert f"--index-url {index} torch==2.13.0" in ready.calls.read_text()
    (ready.root / "pyproject.toml").write_text("# changed")
    assert ready.set_up().returncode == 0
    assert ready.set_up(TORCH_INDEX=index).returncode == 0
    assert ready.set_up().returncode == 0
    assert ready.installs() == 0


@pytest.mark.parametrize(
    ("pip_said", "said"),
    [
        ("NewConnectionError: failed", "the package index cannot be reached"),
        ("ERROR: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: No matching distribution for einops", "No matching distribution for einops"),
    ],
)
def test_a_failing_pip_is_explained_and_its_log_kept(
    clone: Clone, pip_said: str, said: str
) -> None:
    write_python(clone.pythons, "3.11")
    line = clone.refusal(PIP_ENDS=pip_said)
    assert said in line
    assert ".venv/setup.log" in line
    assert pip_said in (clone.venv / "setup.log").read_text()
    assert not (clone.venv / ".ready").exists()


@pytest.mark.parametrize("ending", ["killed", "ERROR: fault"])
def test_a_half_made_environment_is_made_anew(clone: Clone, ending: str) -> None:
    write_python(clone.pythons, "3.11")
    assert clone.set_up(PIP_ENDS=ending).returncode != 0
    (clone.venv / "rest").touch()
    assert clone.set_up().returncode == 0
    assert not (clone.venv / "rest").exists()
    assert not (clone.venv / ".unfinished").exists()


def test_a_failing_update_keeps_the_whole_environment(ready: Clone) -> None:
    (ready.venv / "kept").touch()
    (ready.root / "requirements.lock").write_text("torch==2.13.0\neinops==1\n")
    assert ready.set_up(PIP_ENDS="ERROR: fault").returncode == 2
    assert ready.set_up().returncode == 0
    assert ready.installs() > 0
    assert (ready.venv / "kept").exists()


def test_an_environment_whose_python_is_gone_is_made_anew(ready: Clone) -> None:
    (ready.venv / "bin/python").unlink()
    assert ready.set_up().returncode == 0
    assert (ready.venv / "bin/python").exists()


def test_the_users_own_environment_is_never_deleted(clone: Clone) -> None:
    write_python(clone.pythons, "3.11")
    write_python(clone.venv / "bin", "3.11", name="python")
    (clone.venv / "kept").touch()
    assert clone.set_up(PIP_ENDS="killed").returncode != 0
    assert clone.set_up().returncode == 0
    assert (clone.venv / "kept").exists()


def test_a_folder_that_is_no_environment_is_left_alone(clone: Clone) -> None:
    write_python(clone.pythons, "3.11")
    clone.venv.mkdir()
    (clone.venv / "notes").touch()
    assert "move it away" in clone.refusal()
    assert (clone.venv / "notes").exists()


def test_a_users_environment_of_an_old_python_is_refused(clone: Clone) -> None:
    write_python(clone.venv / "bin", "3.9", name="python")
    assert ".venv holds Python 3.9" in clone.refusal()


def test_a_read_only_folder_is_named(clone: Clone) -> None:
    write_python(clone.pythons, "3.11")
    (clone.tools / "mkdir").unlink()
    write_program(clone.tools / "mkdir", "#!/bin/sh\necho Read-only file system >&2\nexit 1\n")
    assert f"cannot write in {clone.root}" in clone.refusal()


def test_a_set_up_that_runs_already_is_not_disturbed(clone: Clone) -> None:
    write_python(clone.pythons, "3.11")
    assert clone.set_up(PIP_ENDS="killed").returncode != 0
    (clone.venv / ".unfinished").write_text(f"{os.getpid()}\n")
    (clone.tools / "ps").unlink(missing_ok=True)
    write_program(clone.tools / "ps", "#!/bin/sh\necho sh scripts/bootstrap.sh\n")
    assert f"process {os.getpid()}" in clone.refusal()
    write_program(clone.tools / "ps", "#!/bin/sh\necho unrelated\n")
    assert clone.set_up().returncode == 0


def test_a_full_disk_is_seen_before_anything_is_made(clone: Clone) -> None:
    write_python(clone.pythons, "3.11")
    clone.replace_df(free_mib=300)
    line = clone.refusal()
    assert "not enough disk" in line
    assert "300 MiB free" in line
    assert not clone.venv.exists()


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux's default build is large")
def test_too_little_disk_for_cuda_names_the_cpu_build(clone: Clone) -> None:
    write_python(clone.pythons, "3.11")
    clone.replace_df(free_mib=4000)
    assert "make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu" in clone.refusal()


@pytest.mark.parametrize(
    "environment",
    [{"OFFERED_TORCH": "2.13.0+cpu, 2.13.0"}, {"TORCH_INDEX": "https://example.org/whl/cpu"}],
)
def test_a_cpu_build_needs_less_disk(clone: Clone, environment: dict[str, str]) -> None:
    write_python(clone.pythons, "3.11")
    clone.replace_df(free_mib=4000)
    assert clone.set_up(**environment).returncode == 0


def test_make_without_a_goal_lists_the_goals() -> None:
    text = run_make().stdout
    goals = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert goals is not None
    for goal in set(goals[1].split()) - {"help"}:
        assert f"make {goal} " in text


def test_make_refuses_an_unknown_size() -> None:
    result = run_make("demo", "SIZE=huge")
    assert result.returncode == 2
    assert "SIZE is demo or ci, not 'huge'" in result.stderr


def run_make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Without MAKEFLAGS: these tests may themselves be running under make.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
