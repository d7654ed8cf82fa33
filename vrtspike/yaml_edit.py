"""Changes single values of a configuration file and leaves every other character as it is.

Comments, order, spelling and indentation stay. PyYAML tells where a value stands; what cannot be
changed without changing more (a value that an alias uses as well, a list over several lines) is an
error and never a guess: the new text is read again and must mean exactly what was asked for.
Needs no PyTorch.
"""

import dataclasses
import typing
from collections.abc import Iterator, Sequence

import yaml

from vrtspike.config import Config, parse_config
from vrtspike.errors import ConfigError
from vrtspike.yaml_settings import compose

_INDENT = 2


def edited_config(text: str, source: str, assignments: Sequence[str]) -> str:
    """The text of a configuration file with some values changed.

    Args:
        text: the file.
        source: its name, for messages.
        assignments: `KEY.PATH=VALUE`, as on the command line; the value is YAML.

    Raises:
        ConfigError: the configuration or an assignment is wrong, or the file does not allow it.
    """
    wanted = parse_config(text, source, assignments)
    for assignment in assignments:
        path, _, value = assignment.partition("=")
        text = _with_value(text, source, path.split("."), value.strip() or "null")
    try:
        same = parse_config(text, source, ()) == wanted
    except ConfigError:
        same = False
    if not same:
        keys = ", ".join(assignment.partition("=")[0] for assignment in assignments)
        raise ConfigError(
            f"{source}: {keys} cannot be changed here without changing more (aliases, or values "
            "over several lines?); change it by hand"
        )
    return text


def _with_value(text: str, source: str, keys: Sequence[str], value: str) -> str:
    node, depth = _deepest(compose(text, source), keys)
    missing = keys[depth:]
    if not missing:
        return _replaced(text, node, value)
    if not isinstance(node, yaml.MappingNode):
        return text  # the check at the end says so
    if node.flow_style:
        return _added_to_flow(text, node, _nested(missing, value))
    if depth == 0 and len(missing) > 1:
        rest = f"{missing[0]}:\n{' ' * _INDENT}{_nested(missing[1:], value)}"
        return f"{text.rstrip()}\n{rest}\n"
    return _added_to_block(text, node, _nested(missing, value))


def _deepest(root: yaml.Node, keys: Sequence[str]) -> tuple[yaml.Node, int]:
    """The node that as many of the keys as possible lead to, and how many."""
    node = root
    for depth, key in enumerate(keys):
        names = {key, *_other_spellings(keys[: depth + 1])}
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next((child for name, child in pairs if name.value in names), None)
        if found is None:
            return node, depth
        node = found
    return node, len(keys)


def _other_spellings(keys: Sequence[str]) -> Iterator[str]:
    """A second name that the setting may have in a file."""
    cls: typing.Any = Config
    for depth, key in enumerate(keys):
        field = next((f for f in dataclasses.fields(cls) if f.name.upper() == key), None)
        if field is None:
            return
        if depth == len(keys) - 1 and (alias := field.metadata.get("alias")):
            yield alias
        cls = typing.get_type_hints(cls)[field.name]
        if not dataclasses.is_dataclass(cls):
            return


def _replaced(text: str, node: yaml.Node, value: str) -> str:
    begin, end = node.start_mark.index, node.end_mark.index
    space = " " if begin == end else ""  # nothing stood behind the colon
    return f"{text[:begin]}{space}{value}{text[end:]}"


def _nested(keys: Sequence[str], value: str) -> str:
    """As `A: {B: value}`."""
    for key in reversed(keys[1:]):
        value = f"{{{key}: {value}}}"
    return f"{keys[0]}: {value}"


def _added_to_flow(text: str, node: yaml.MappingNode, entry: str) -> str:
    end = node.end_mark.index - 1
    before = text[:end].rstrip()
    comma = "" if before.endswith(("{", ",")) else ","
    space = "" if before.endswith("{") else " "
    return f"{before}{comma}{space}{entry}{text[end:]}"


def _added_to_block(text: str, node: yaml.MappingNode, entry: str) -> str:
    """A line of its own below the last one that belongs to the mapping."""
    indent = " " * node.start_mark.column
    last = max(leaf.end_mark.index for leaf in _leaves(node))
    if text[:last].endswith("\n"):  # a text over several lines ends with the line
        last -= 1
    end = text.find("\n", last)
    end = len(text) if end < 0 else end
    head = text[:end].removesuffix("\r")
    line_break = "\r\n" if head != text[:end] else "\n"
    return f"{head}{line_break}{indent}{entry}{text[len(head) :]}"


def _leaves(node: yaml.Node) -> Iterator[yaml.Node]:
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, child in children:
            yield key
            yield from _leaves(child)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for child in children:
            yield from _leaves(child)
    else:
        yield node
