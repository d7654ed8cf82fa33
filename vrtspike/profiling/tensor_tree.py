"""The tensors in what a module takes or gives: tuples, lists, mappings, dataclasses of them."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor

MAX_TENSORS = 256
"""More tensors than this of one value are not looked at: each costs a microsecond or two."""

_MAX_DEPTH = 4


def tensors_of(value: Any) -> Iterator[Tensor]:
    """The tensors of a value, in order; at most `MAX_TENSORS`, in four levels of containers."""
    if isinstance(value, Tensor):
        yield value
        return
    for count, tensor in enumerate(_inside(value, _MAX_DEPTH)):
        if count == MAX_TENSORS:
            return
        yield tensor


def _inside(value: Any, depth: int) -> Iterator[Tensor]:
    for each in _children(value):
        if isinstance(each, Tensor):
            yield each
        elif depth > 1 and each is not None and not isinstance(each, str | int | float):
            yield from _inside(each, depth - 1)


def _children(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Mapping):
        return value.values()
    if is_dataclass(value) and not isinstance(value, type):
        return vars(value).values()
    return ()
