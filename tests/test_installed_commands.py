"""The commands of an installed package, away from the checkout that it was made from."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "tests" / "data" / "demo_run" / "profiles"
CONFIG = ROOT / "configs" / "demo.yaml"
SOURCES = ["analyze_performance.py", "diagnose_memory.py", "pyproject.toml", "LICENSE", "README.md"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs, which finds the libraries of the present one."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = build_wheel(folder)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    (site / "present.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["-m", "pip", "install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    subprocess.run([python, *install, "--ignore-installed"], check=True, env=bare())
    return folder / "env" / "bin"


def build_wheel(folder: Path) -> Path:
    """From a copy: building leaves files behind."""
    source = folder / "source"
    source.mkdir()
    for name in (*SOURCES, "diagnostics", "vrtspike"):
        copied = ["cp", "-r", str(ROOT / name), str(source / name)]
        subprocess.run(copied, check=True)
    build = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([sys.executable, *build, "-w", str(folder), str(source)], check=True, env=bare())
    return next(folder.glob("*.whl"))


def bare() -> dict[str, str]:
    """Without paths that would lead back to the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(commands: Path, name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [commands / name, *arguments], capture_output=True, text=True, cwd=cwd, env=bare()
    )


def test_a_run_is_diagnosed(commands: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run(
        commands, "analyze-performance", str(RUN), "--json", "-", "--html", str(page), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"]["judged"]
    assert "<svg" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("analyze-performance", str(RUN), "--lang", "zh", "--checklist"), "检查"),
        (("analyze-performance", "--explain", "DL001"), "What it measures"),
        (("analyze-performance", "--list-rules"), "DL001"),
        (("diagnose-memory", "--lang", "zh", "--profiles-dir", str(RUN)), "内存"),
        (("diagnose-memory", "--config", str(CONFIG), "--json", "-"), '"verdict"'),
    ],
)
def test_what_the_package_holds_is_found(
    commands: Path, tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    done = run(commands, *arguments, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert word in done.stdout


def test_the_package_is_used_and_not_the_checkout(commands: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [commands / "python", "-c", "import diagnostics, vrtspike; print(diagnostics.__file__)"],
        capture_output=True, text=True, cwd=tmp_path, env=bare(), check=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()).is_relative_to(commands.parent)
