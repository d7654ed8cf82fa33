"""The budgets and borders that no linter checks, over every source file of the checkout."""

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("vrtspike", "diagnostics", "scripts", "benchmarks")
TOOLS = ("analyze_performance.py", "diagnose_memory.py")
TEXT_ENDINGS = {".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".html", ".css", ".js", ".lock"}
NOT_OURS = {".git", ".venv", "build", "dist", "outputs", "profiles", "data", "__pycache__"}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
MAX_MEDIAN_FUNCTION_LINES = 15
MAX_PARAMETERS = 7
MAX_TOOL_LINES = 60
MAX_RULE_LINES = 130
VAGUE_NAMES = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
MAY_SYNCHRONIZE = {"vrtspike/profiling/cuda_events.py", "vrtspike/profiling/recorder.py"}
# Settings, contracts and the forecast: they load where no torch is installed.
TORCH_FREE = (
    "vrtspike.config",
    "vrtspike.data.plan",
    "vrtspike.data.settings",
    "vrtspike.engine.settings",
    "vrtspike.memory_demand",
    "vrtspike.model.costs",
    "vrtspike.model.settings",
    "vrtspike.plan_demand",
    "vrtspike.profiling",
    "vrtspike.profiling.records",
    "vrtspike.profiling.resources",
    "vrtspike.profiling.session_settings",
    "vrtspike.profiling.settings",
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def product_files() -> list[Path]:
    inside = [path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]
    return sorted([*inside, *ROOT.glob("*.py")])


def own_tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


def trees(paths: list[Path]) -> Iterator[tuple[str, ast.Module]]:
    for path in paths:
        yield relative(path), ast.parse(path.read_text("utf-8"), str(path))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (n for n in ast.walk(tree) if isinstance(n, Function))


def num_lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def num_parameters(function: Function) -> int:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in {"self", "cls"} for argument in named)


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in small letters."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def is_blind(handler: ast.ExceptHandler) -> bool:
    """Catches everything, and does not end by raising again."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    everything = any(
        node is None or getattr(node, "id", "") in {"Exception", "BaseException"} for node in caught
    )
    return everything and not isinstance(handler.body[-1], ast.Raise)


def found(paths: list[Path], judge: Callable[[ast.AST], str | None]) -> list[str]:
    """What `judge` objects to, as "file:line: objection"."""
    return [
        f"{name}:{getattr(node, 'lineno', 0)}: {objection}"
        for name, tree in trees(paths)
        for node in ast.walk(tree)
        if (objection := judge(node))
    ]


def expect_none(faults: Iterable[str]) -> None:
    listed = sorted(faults)
    assert not listed, "\n" + "\n".join(listed)


def is_function(node: ast.AST) -> bool:
    return isinstance(node, Function)


def test_there_is_something_to_check() -> None:
    names = {relative(path) for path in product_files()}
    assert {"vrtspike/config.py", "diagnostics/errors.py"} <= names


def test_files_stay_short() -> None:
    lines = {relative(p): p.read_text("utf-8").count("\n") for p in product_files() + own_tests()}
    expect_none(
        f"{name} has {count} lines" for name, count in lines.items() if count > MAX_FILE_LINES
    )


def test_rules_stay_short() -> None:
    rules = (ROOT / "diagnostics/rules").glob("*/*.py")
    lines = {relative(path): path.read_text("utf-8").count("\n") for path in rules}
    expect_none(
        f"{name} has {count} lines" for name, count in lines.items() if count > MAX_RULE_LINES
    )


def test_functions_stay_short() -> None:
    def judge(node: ast.AST) -> str | None:
        too_long = is_function(node) and num_lines(node) > MAX_FUNCTION_LINES
        return f"{node.name} has {num_lines(node)} lines" if too_long else None

    expect_none(found(product_files() + own_tests(), judge))


def test_the_median_function_is_short() -> None:
    lengths = [num_lines(f) for _, tree in trees(product_files()) for f in functions(tree)]
    assert statistics.median(lengths) <= MAX_MEDIAN_FUNCTION_LINES


def test_functions_take_few_parameters() -> None:
    def judge(node: ast.AST) -> str | None:
        too_many = is_function(node) and num_parameters(node) > MAX_PARAMETERS
        return f"{node.name} takes {num_parameters(node)}" if too_many else None

    expect_none(found(product_files(), judge))


def test_no_except_swallows_everything() -> None:
    def judge(node: ast.AST) -> str | None:
        return "blind" if isinstance(node, ast.ExceptHandler) and is_blind(node) else None

    expect_none(found(product_files() + own_tests(), judge))


def test_no_name_is_vague() -> None:
    def judge(node: ast.AST) -> str | None:
        named = is_function(node) or isinstance(node, ast.ClassDef)
        return node.name if named and words(node.name) & VAGUE_NAMES else None

    expect_none(found(product_files() + own_tests(), judge))
    parts = {part for path in product_files() for part in path.relative_to(ROOT).parts}
    expect_none(part for part in parts if words(part) & VAGUE_NAMES)


def test_only_the_recorder_may_wait_for_the_device() -> None:
    def judge(node: ast.AST) -> str | None:
        return node.attr if isinstance(node, ast.Attribute) and node.attr == "synchronize" else None

    paths = [p for p in product_files() if not {relative(p)} & MAY_SYNCHRONIZE]
    product = [p for p in paths if relative(p).split("/")[0] != "benchmarks"]
    expect_none(found(product, judge))


def test_no_text_names_a_folder_of_one_machine() -> None:
    # Spelled with brackets, so that this file does not name them either.
    pattern = re.compile(r"(?<![\w.])(?:/[w]ork/|/[r]oot/|/opt/[w]heels|\.\./[s]hared)")
    texts = [path for path in own_texts() if relative(path) != ".ci/run"]
    named = {relative(p): hits for p in texts if (hits := pattern.findall(p.read_text("utf-8")))}
    expect_none(f"{name}: {hits}" for name, hits in named.items())


def test_no_source_names_somebodys_home() -> None:
    # Ann is who examples are about.
    pattern = re.compile(r"(?:/home|/Users)/(?!ann\b)\w+")
    named = [relative(p) for p in product_files() if pattern.search(p.read_text("utf-8"))]
    expect_none(named)


def own_texts() -> Iterator[Path]:
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT).parts
        ours = NOT_OURS.isdisjoint(inside[:1]) and "__pycache__" not in inside
        if ours and path.is_file() and (path.suffix in TEXT_ENDINGS or path.name == "Makefile"):
            yield path


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tools_at_the_top_stay_thin(tool: str) -> None:
    assert (ROOT / tool).read_text("utf-8").count("\n") <= MAX_TOOL_LINES


def loaded_by(code: str) -> set[str]:
    """The top-level modules, of those that borders are about, that a fresh Python ends up with."""
    report = (
        "\nimport sys\n"
        "heavy = {'torch', 'pandas', 'vrtspike', 'diagnostics', 'cv2', 'tensorboard'}\n"
        "print('loaded:', *sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code + report], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split()[1:])


def every_module_of(package: str) -> str:
    return "import " + ", ".join(
        relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in sorted((ROOT / package).rglob("*.py"))
    )


def test_no_module_of_the_tools_loads_torch_or_the_trainer() -> None:
    assert loaded_by(every_module_of("diagnostics")).isdisjoint({"torch", "vrtspike"})


def test_settings_and_forecast_load_without_torch() -> None:
    loaded = loaded_by("import " + ", ".join(TORCH_FREE))
    assert "vrtspike" in loaded
    assert loaded.isdisjoint({"torch", "diagnostics"})


def test_the_other_checks_cover_what_is_named_here() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert {*PRODUCT, "*.py"} <= set(tools["mypy"]["files"])
    contracts = tools["importlinter"]["contracts"]
    torch_free = next(c for c in contracts if "vrtspike.config" in c.get("source_modules", ()))
    assert set(TORCH_FREE) <= set(torch_free["source_modules"])


@pytest.mark.parametrize("tool", TOOLS)
def test_help_loads_nothing_heavy(tool: str) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{tool!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_path({tool!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
    )
    assert loaded_by(code).isdisjoint({"torch", "pandas", "cv2", "tensorboard"})
