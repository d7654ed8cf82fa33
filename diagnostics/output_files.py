"""The files that a tool is asked to write: each is its own, and none is what it reads."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from diagnostics.command_line import STDOUT, OneLineParser
from diagnostics.language import say

TWICE = "{first} and {second} name the same file, {path}; give each its own"
REPLACES_INPUT = "{option} {path} would replace what is read from there; give another name"


def check_outputs(parser: OneLineParser, options: argparse.Namespace) -> None:
    """Ends the program with one line where a report would replace another or an input."""
    taken: dict[str, str] = {}
    inputs = {_place(path) for path in _inputs(options)}
    for option, path in _outputs(options):
        place = _place(path)
        if place in taken:
            parser.error(say(TWICE, first=taken[place], second=option, path=path))
        if place in inputs:
            parser.error(say(REPLACES_INPUT, option=option, path=path))
        taken[place] = option


def _outputs(options: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Files alone: into a pipe or a device everything goes one after the other."""
    if options.json not in (None, STDOUT):
        yield "--json", Path(options.json)
    if options.html is not None:
        yield "--html", options.html
    written = getattr(options, "write_config", None)
    if written is not None and str(written) != STDOUT:
        yield "--write-config", written


def _inputs(options: argparse.Namespace) -> Iterator[Path]:
    yield from options.paths
    for name in ("baseline", "config"):
        path = getattr(options, name, None)
        if path is not None:
            yield path


def _place(path: Path) -> str:
    """Where the file lies, by way of links; each pipe and device is a place of its own."""
    try:
        if path.exists() and not path.is_file():
            return f"{path} {id(path)}"
        return os.path.realpath(path)
    except (OSError, ValueError):  # a NUL in the name, which writing will say
        return str(path)
