"""What is wrong with a configuration is said whole: the trainer's sentences in Chinese."""

import ast
import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnostics.language import speaking, spoken
from vrtspike.config import Config, load_config
from vrtspike.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = sorted(ROOT.glob("vrtspike/*/settings.py"))
NAMES = {"null", "true", "false", "all", "rank", "until_epoch", "channels_per_scale"}
"""What stays as it is: words of YAML and keys."""


def left_in_english(message: str) -> list[str]:
    with speaking("zh"):
        said = spoken(message)
    plain = re.sub(r"'[^']*'|[\w./]+\.yaml", "", said)
    kept = NAMES | choices(Config)
    return [word for word in re.findall(r"[a-z_]{3,}", plain) if word not in kept]


def choices(cls: type) -> set[str]:
    """Every word that a setting may be."""
    found = set()
    for hint in typing.get_type_hints(cls).values():
        if dataclasses.is_dataclass(hint):
            found |= choices(hint)
        for each in (hint, *typing.get_args(hint)):
            if typing.get_origin(each) is typing.Literal:
                found |= {str(word) for word in typing.get_args(each)}
    return found


def checks() -> Iterator[tuple[str, str]]:
    """Every sentence with which a setting refuses a value, its fields filled in."""
    for path in SETTINGS:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                text = ast.literal_eval(_filled(node.exc.args[0]))
                yield f"{path.parent.name}:{node.lineno}", text


def _filled(node: ast.expr) -> ast.expr:
    if not isinstance(node, ast.JoinedStr):
        return node
    parts = [each.value if isinstance(each, ast.Constant) else "7" for each in node.values]
    return ast.Constant("".join(parts))


@pytest.mark.parametrize(("where", "text"), list(checks()))
def test_no_half_of_a_check_is_left_in_english(where: str, text: str) -> None:
    names, _, sentence = text.partition(":")
    for place in ("command line", "runs/a.yaml:12"):
        assert left_in_english(f"{place}: 'TRAIN.{names.upper()}':{sentence}") == []


def test_there_are_checks() -> None:
    texts = " ".join(text for _, text in checks())
    assert "must be at most" in texts
    assert "does not divide" in texts


def leaves(cls: type, path: str = "") -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        key = f"{path}{field.name.upper()}"
        if dataclasses.is_dataclass(hints[field.name]):
            yield from leaves(hints[field.name], f"{key}.")
        else:
            yield key


@pytest.mark.parametrize("value", ["{A: {B: 1}}", "[[[x]]]", "1e999"])
def test_no_half_of_a_wrong_type_is_left_in_english(tmp_path: Path, value: str) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("DATA: {ROOT: clips}\nTRAIN: {EPOCHS: 3}\n")
    messages = []
    for key in leaves(Config):
        try:
            load_config(config, [f"{key}={value}"])
        except ConfigError as error:
            messages.append(str(error))
    assert len(messages) > 20
    faults = {message: left_in_english(message) for message in messages}
    assert {message: words for message, words in faults.items() if words} == {}
