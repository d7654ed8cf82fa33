"""The plug-in as TensorBoard uses it: quick to make, lazy, and a bad run is one line."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client

from diagnostics.errors import DiagnosticsError
from diagnostics.tensorboard_plugin.plugin import DiagnosisPlugin
from diagnostics.tensorboard_plugin.reports import MAX_KEPT, Reports
from diagnostics.tensorboard_plugin.run_folders import RunFolder
from tests.diagnostics.factories import make_run, write_facts
from tests.diagnostics.report.html_tree import read_page

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    write_facts(tmp_path / "profiles" / "good run", make_run())
    bad = tmp_path / "profiles" / "bad"
    bad.mkdir()
    (bad / "meta.json").write_text("{}")
    return tmp_path / "profiles"


def client(logdir: Path | str | None, path: str) -> Client:
    plugin = DiagnosisPlugin(TBContext(logdir=str(logdir) if logdir else None))
    return Client(plugin.get_plugin_apps()[path])


def test_the_declared_entry_point_is_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"]["tensorboard_plugins"].items()
    loaded = EntryPoint(name, value, "tensorboard_plugins").load()
    assert loaded is DiagnosisPlugin
    assert name == loaded.plugin_name


def test_runs_are_listed(logdir: Path) -> None:
    answer = client(logdir, "/runs").get("/")
    assert sorted(answer.json["runs"]) == ["bad", "good run"]
    assert client(None, "/runs").get("/").json == {"runs": []}


def test_a_run_s_report_is_the_page(logdir: Path) -> None:
    answer = client(logdir, "/report").get("/?run=good+run")
    assert answer.status_code == 200
    assert answer.mimetype == "text/html"
    assert "Verdict" in read_page(answer.text).text
    assert "sha256-" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["bad", "../profiles/good run", "..", "/etc", "", "<script>\n"])
def test_anything_else_is_one_line(logdir: Path, name: str) -> None:
    answer = client(logdir, "/report").get("/", query_string={"run": name})
    assert answer.status_code in (404, 422)
    assert answer.mimetype == "text/plain"
    assert len(answer.text.splitlines()) == 1


def test_the_tab_is_there_only_with_a_run(logdir: Path, tmp_path: Path) -> None:
    assert DiagnosisPlugin(TBContext(logdir=str(logdir))).is_active()
    assert not DiagnosisPlugin(TBContext(logdir=str(tmp_path / "none"))).is_active()
    assert not DiagnosisPlugin(TBContext(logdir=None)).is_active()


def test_the_module_is_served(logdir: Path) -> None:
    plugin = DiagnosisPlugin(TBContext(logdir=str(logdir)))
    path = plugin.frontend_metadata().es_module_path
    answer = client(logdir, path).get("/")
    assert answer.mimetype == "text/javascript"
    assert "export async function render" in answer.text


def test_starting_tensorboard_loads_neither_pandas_nor_torch() -> None:
    code = (
        "import sys; import diagnostics.tensorboard_plugin.plugin as p; "
        "p.DiagnosisPlugin(p.base_plugin.TBContext(logdir='.')); "
        "print([n for n in ('pandas', 'torch', 'rich', 'diagnostics.load') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout.replace("'", '"')) == [], done.stderr


def run_folder(name: str, change: int = 0) -> RunFolder:
    return RunFolder(
        name=name, paths=(Path(name),), changed_unix_s=0.0, fingerprint=(("f", change, 1),)
    )


def test_a_page_is_made_once_until_its_run_changes() -> None:
    made: list[str] = []

    def make(paths) -> str:
        made.append(str(paths[0]))
        return f"page {len(made)}"

    reports = Reports(make)
    assert [reports.page(run_folder("a"), "en"), reports.page(run_folder("a"), "en")] == [
        "page 1",
        "page 1",
    ]
    assert reports.page(run_folder("a", change=1), "en") == "page 2"
    assert made == ["a", "a"]


def test_each_language_has_its_own_page() -> None:
    made: list[str] = []
    reports = Reports(lambda paths: made.append("") or f"page {len(made)}")
    run = run_folder("a")
    pages = [reports.page(run, language) for language in ("en", "zh", "en")]
    assert pages == ["page 1", "page 2", "page 1"]


def test_the_reader_s_language_is_served(logdir: Path) -> None:
    answer = client(logdir, "/report").get("/", query_string={"run": "good run", "lang": "zh"})
    (root,) = read_page(answer.text).find("html")
    assert root.attributes["lang"] == "zh"
    other = client(logdir, "/report").get("/", query_string={"run": "good run", "lang": "../xx"})
    assert read_page(other.text).find("html")[0].attributes["lang"] == "en"


def test_few_pages_are_kept() -> None:
    made: list[str] = []
    reports = Reports(lambda paths: made.append(str(paths[0])) or "page")
    for number in range(MAX_KEPT + 1):
        reports.page(run_folder(str(number)), "en")
    reports.page(run_folder(str(MAX_KEPT)), "en")
    reports.page(run_folder("0"), "en")  # the oldest went
    assert made.count("0") == 2
    assert made.count(str(MAX_KEPT)) == 1


def test_a_failure_is_not_kept() -> None:
    answers = iter([DiagnosticsError("half written"), "page"])

    def make(paths) -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    reports = Reports(make)
    with pytest.raises(DiagnosticsError):
        reports.page(run_folder("a"), "en")
    assert reports.page(run_folder("a"), "en") == "page"
