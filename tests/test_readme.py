"""The README's commands exist, parse, and are each run or checked by somebody."""

import importlib
import importlib.util
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _load(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


readme_commands = _load("readme_commands", ROOT / "scripts" / "readme_commands.py")
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = readme_commands.commands(README)
MARKS = {"run", "parse", "serve", "run by .ci/run"}


def _parser_of(words: list[str]):
    """The parser behind a command line, and the arguments it would get."""
    if words[0] == "torchrun":
        words = ["python", *[word for word in words[1:] if not word.startswith("--nproc")]]
    if words[:2] == ["python", "-m"]:
        return importlib.import_module(words[2]).build_parser(), words[3:]
    return _load(words[1].removesuffix(".py"), ROOT / words[1]).build_parser(), words[2:]


def test_every_block_of_commands_is_marked():
    assert COMMANDS
    assert {command.mark for command in COMMANDS} == MARKS


@pytest.mark.parametrize(
    "text", [c.text for c in COMMANDS if c.text.startswith(("python", "torchrun"))]
)
def test_arguments_parse(text):
    parser, arguments = _parser_of(shlex.split(text))
    parser.parse_args(arguments)
    for word in arguments:
        if word.startswith("configs/"):
            assert (ROOT / word).is_file()


def test_unknown_argument_would_be_noticed():
    parser, _ = _parser_of(shlex.split("python analyze_performance.py"))
    with pytest.raises(SystemExit):
        parser.parse_args(["--no-such-option"])


def test_other_commands_are_known():
    others = {c.text.split()[0] for c in COMMANDS if not c.text.startswith(("python", "torchrun"))}
    assert others <= {"make", "source", "tensorboard"}


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for command in COMMANDS:
        if command.text.startswith("make "):
            assert f"\n{command.text.split()[1]}:" in makefile


def test_tree_names_what_exists():
    tree = README.split("## What lies where", 1)[1].split("```")[1]
    named = [line.split()[0] for line in tree.splitlines() if line.strip()]
    assert len(named) > 10
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_tree_names_every_folder_and_file_of_the_top_level():
    import subprocess

    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout: the tree cannot be compared with the tracked files")
    tree = README.split("## What lies where", 1)[1].split("```")[1]
    tops = {name.split("/")[0] for name in tracked if not name.startswith(".")}
    assert [top for top in sorted(tops) if top not in tree] == []


def test_the_commands_of_the_chinese_overview_parse():
    text = (ROOT / "README.zh.md").read_text("utf-8")
    lines = [line.split(" #")[0] for line in text.splitlines() if line.startswith("python ")]
    assert len(lines) > 4
    for line in lines:
        parser, arguments = _parser_of(shlex.split(line))
        assert parser.parse_args(arguments).lang == "zh"
