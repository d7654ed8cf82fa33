"""Commands about the configuration that a run was started with, by the file's own name."""

import shlex
from collections.abc import Iterable
from pathlib import PurePath

from diagnostics.analyses.launch import Launch
from diagnostics.printable import printable

_ANY_FILE, _ANY_NEW = "FILE", "NEW"


def configuration_words(launch: Launch | None, more: Iterable[str] = ()) -> str:
    """The file and its settings for a command line, each key once; `more` comes last.

    `FILE` stands for a file that the run does not name.
    """
    if launch is None:
        return shlex.join([_ANY_FILE, *more])
    by_key: dict[str, str] = {}
    for number, word in enumerate((*launch.settings, *more)):
        key, is_setting, _ = word.partition("=")
        by_key[key if is_setting else f"{number}"] = word
    return shlex.join(printable(word) for word in (launch.config, *by_key.values()))


def new_configuration(launch: Launch | None) -> str:
    """A name for the configuration that fits, beside the one that the run was started with."""
    if launch is None:
        return _ANY_NEW
    old = PurePath(launch.config)
    if not old.name:
        return _ANY_NEW
    return shlex.quote(printable(str(old.with_name(f"{old.stem}_fits{old.suffix}"))))
