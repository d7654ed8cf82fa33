"""Strict YAML to frozen dataclasses: every mistake is one line that says where it is.

A dataclass field `cache_size_gb` is the YAML key `CACHE_SIZE_GB`. Scalars are read by the type of
their field, from the text as written, so YAML's own surprises do not reach the program: `1e-4` is
a number where a number is due (PyYAML makes it a string), `off` is text where text is due, and a
repeated key is an error instead of a silent last one wins. Needs no PyTorch.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml

from vrtspike.errors import ConfigError

T = TypeVar("T")

_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_NULL = frozenset({"null", "~", ""})
_MAX_WHOLE = 2**63 - 1
_MAX_DEPTH = 20
COMMAND_LINE = "command line"


class _MismatchError(Exception):
    """The node does not fit the type; `args[0]` says what would."""


def compose(text: str, source: str) -> yaml.Node:
    """The YAML document as nodes, with line numbers.

    Raises:
        ConfigError: the text is not one YAML document.
    """
    loader = _loader(text, source)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{source}{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ConfigError(f"{source}: not valid YAML: nested too deeply") from None
    finally:
        loader.dispose()
    if node is None:
        raise ConfigError(f"{source}: the file is empty; a configuration was expected")
    return node


def _loader(text: str, source: str) -> yaml.SafeLoader:
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{source}:{line}: not valid YAML: the character U+{error.character:04X} is not allowed"
        ) from None
    loader.name = source
    return loader


def read_dataclass(node: yaml.Node, cls: type[T], source: str, path: str = "") -> T:
    """The node as an instance of the dataclass.

    Args:
        node: a mapping node.
        cls: a frozen keyword-only dataclass.
        source: file name for messages.
        path: dotted path of the node, "" at the top.

    Raises:
        ConfigError: unknown, duplicate, missing or mistyped keys, or a failed check.
    """
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{_where(source, node)}: '{path or 'top level'}' must be a mapping")
    if path.count(".") > _MAX_DEPTH:
        raise ConfigError(f"{_where(source, node)}: '{path}' is nested too deeply")
    fields = _fields_by_key(cls)
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    nodes: dict[str, yaml.Node] = {}
    for key_node, value_node in node.value:
        key = _key_text(key_node, source, path)
        field = fields.get(key)
        if field is None:
            raise ConfigError(_unknown_key(key, fields, _where(source, key_node), path))
        if field.name in values and not _is_override(value_node):
            raise ConfigError(
                f"{_where(source, key_node)}: '{_join(path, key)}' is set twice; keep one"
            )
        values[field.name] = _read_field(value_node, hints[field.name], source, _join(path, key))
        nodes[field.name] = value_node
    _require_all(cls, values, _where(source, node), path)
    try:
        return cls(**values)
    except ValueError as error:
        blamed = _blamed(cls, values, nodes, error) or node
        raise ConfigError(f"{_where(source, blamed)}: {_name_path(path, error)}") from None


def to_mapping(instance: Any) -> Any:
    """The dataclass as plain data with the YAML's own upper-case keys."""
    if dataclasses.is_dataclass(instance):
        return {
            field.name.upper(): to_mapping(getattr(instance, field.name))
            for field in dataclasses.fields(instance)
        }
    if isinstance(instance, tuple):
        return [to_mapping(item) for item in instance]
    return instance


def override(root: yaml.Node, assignment: str) -> None:
    """Apply `KEY.PATH=VALUE` to the nodes in place; the value is YAML.

    Raises:
        ConfigError: the assignment has no `=` or its path leads through a scalar.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise ConfigError(f"command line: '{assignment}' is not of the form KEY.PATH=VALUE")
    value = compose(text if text.strip() else "null", COMMAND_LINE)
    node = root
    keys = path.split(".")
    for index, key in enumerate(keys):
        if not isinstance(node, yaml.MappingNode):
            parent = ".".join(keys[:index])
            raise ConfigError(f"command line: '{parent}' is not a mapping, so '{path}' cannot be")
        if index == len(keys) - 1:
            _set_key(node, key, value)
        else:
            node = _child_mapping(node, key, value)


def _is_override(node: yaml.Node) -> bool:
    return bool(node.start_mark) and node.start_mark.name == COMMAND_LINE


def _where(source: str, node: yaml.Node) -> str:
    if _is_override(node):
        return COMMAND_LINE
    return f"{source}:{node.start_mark.line + 1}" if node.start_mark else source


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _fields_by_key(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    by_key = {}
    for field in dataclasses.fields(cls):
        by_key[field.name.upper()] = field
        if alias := field.metadata.get("alias"):
            by_key[alias] = field
    return by_key


def _key_text(node: yaml.Node, source: str, path: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{_where(source, node)}: a key under '{path}' is not a plain word")
    return str(node.value)


def _unknown_key(key: str, known: Mapping[str, Any], where: str, path: str) -> str:
    near = difflib.get_close_matches(key.upper(), known, n=1)
    hint = f" (did you mean '{near[0]}'?)" if near else ""
    scope = f"under '{path}'" if path else "at the top level"
    return f"{where}: unknown key '{_join(path, key)}'{hint}; valid {scope}: {', '.join(known)}"


def _require_all(cls: type[Any], values: Mapping[str, Any], where: str, path: str) -> None:
    for field in dataclasses.fields(cls):
        optional = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if not optional and field.name not in values:
            raise ConfigError(f"{where}: missing key '{_join(path, field.name.upper())}'")


def _blamed(
    cls: type[Any], values: Mapping[str, Any], nodes: Mapping[str, yaml.Node], error: ValueError
) -> yaml.Node | None:
    """What made a check of several fields fail: a value of the command line before the file's.

    Returns:
        The node of a field that the check names, or one of the command line without which the
        file would pass; None where it names none that is set.
    """
    names = str(error).partition(":")[0].split(",")
    named = [node for name in names if (node := _node_of(nodes, name.strip())) is not None]
    asked = {name: node for name, node in nodes.items() if _is_override(node)}
    ours = [node for node in named if _is_override(node)]
    if not ours and asked and _passes_without(cls, values, asked):
        ours = list(asked.values())
    return next(iter([*ours, *named]), None)


def _node_of(nodes: Mapping[str, yaml.Node], name: str) -> yaml.Node | None:
    """The node of a field, or of one further in: `fuse.heads`."""
    first, *further = name.split(".")
    node = nodes.get(first)
    for each in further:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((held for key, held in pairs if key.value == each.upper()), None)
    return node


def _passes_without(cls: type[Any], values: Mapping[str, Any], left_out: Mapping[str, Any]) -> bool:
    try:
        cls(**{name: value for name, value in values.items() if name not in left_out})
    except (ValueError, TypeError):  # TypeError: one of them is required
        return False
    return True


def _name_path(path: str, error: ValueError) -> str:
    """Turn a check's `field: sentence` into `PATH.FIELD: sentence`."""
    names, colon, sentence = str(error).partition(":")
    if not colon:
        return f"'{path}': {error}"
    dotted = ", ".join(_join(path, name.strip().upper()) for name in names.split(","))
    return f"'{dotted}':{sentence}"


def _read_field(node: yaml.Node, hint: Any, source: str, path: str) -> Any:
    try:
        return _read(node, hint, source, path)
    except _MismatchError as mismatch:
        got = (
            node.value
            if isinstance(node, yaml.ScalarNode)
            else "a mapping"
            if isinstance(node, yaml.MappingNode)
            else "a list"
        )
        near = ""
        if get_origin(hint) is Literal and isinstance(node, yaml.ScalarNode):
            close = difflib.get_close_matches(str(got), [str(c) for c in get_args(hint)], n=1)
            near = f" (did you mean '{close[0]}'?)" if close else ""
        raise ConfigError(
            f"{_where(source, node)}: '{path}' must be {mismatch.args[0]}, got '{got}'{near}"
        ) from None


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"


def _read(node: yaml.Node, hint: Any, source: str, path: str) -> Any:
    origin = get_origin(hint)
    if origin is Union or origin is types.UnionType:
        return _read_union(node, get_args(hint), source, path)
    if origin is Literal:
        return _read_choice(node, get_args(hint))
    if origin is tuple:
        return _read_sequence(node, get_args(hint)[0], source, path)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read_dataclass(node, hint, source, path)
    if hint is type(None):
        return _read_null(node)
    return _read_scalar(node, hint)


def _read_union(node: yaml.Node, members: Sequence[Any], source: str, path: str) -> Any:
    # A null must be tried first, or a text member would take it as the word "null".
    ordered = sorted(members, key=lambda member: member is not type(None))
    wanted: list[str] = []
    for member in ordered:
        try:
            return _read(node, member, source, path)
        except _MismatchError as mismatch:
            wanted.append(str(mismatch.args[0]))
    raise _MismatchError(" or ".join(reversed(wanted)))


def _read_choice(node: yaml.Node, choices: Sequence[Any]) -> Any:
    if isinstance(node, yaml.ScalarNode) and node.value in choices:
        return node.value
    raise _MismatchError("one of " + ", ".join(str(choice) for choice in choices))


def _read_sequence(node: yaml.Node, member: Any, source: str, path: str) -> tuple[Any, ...]:
    if not isinstance(node, yaml.SequenceNode):
        raise _MismatchError("a list")
    return tuple(
        _read_field(item, member, source, f"{path}[{index}]")
        for index, item in enumerate(node.value)
    )


def _read_null(node: yaml.Node) -> None:
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if not (plain and node.value.lower() in _NULL):
        raise _MismatchError("null")


def _read_scalar(node: yaml.Node, kind: type) -> Any:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    text = node.value if isinstance(node, yaml.ScalarNode) else None
    is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if text is None or (kind is not str and not is_plain):
        raise _MismatchError(names[kind])
    if kind is str:
        if is_plain and text.lower() in _NULL:
            raise _MismatchError(names[kind])
        if "\0" in text:
            raise _MismatchError("text without the character U+0000")
        return text
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise _MismatchError(names[kind])
        return text.lower() in _TRUE
    return _read_number(text, kind, names[kind])


def _read_number(text: str, kind: type, name: str) -> int | float:
    try:
        number = kind(text)
    except ValueError:
        raise _MismatchError(name) from None
    if kind is float and not math.isfinite(number):
        raise _MismatchError("a finite number")
    if kind is int and abs(number) > _MAX_WHOLE:
        raise _MismatchError("a whole number of at most 64 bits")
    return typing.cast("int | float", number)


def _set_key(node: yaml.MappingNode, key: str, value: yaml.Node) -> None:
    kept = [(k, v) for k, v in node.value if getattr(k, "value", None) != key]
    key_node = yaml.ScalarNode("tag:yaml.org,2002:str", key, value.start_mark, value.end_mark)
    node.value = [*kept, (key_node, value)]


def _child_mapping(node: yaml.MappingNode, key: str, value: yaml.Node) -> yaml.Node:
    for key_node, value_node in node.value:
        if getattr(key_node, "value", None) == key:
            return typing.cast("yaml.Node", value_node)
    child = yaml.MappingNode("tag:yaml.org,2002:map", [], value.start_mark, value.end_mark)
    _set_key(node, key, child)
    return child
