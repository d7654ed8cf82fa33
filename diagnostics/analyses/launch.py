"""How a run was started: the configuration file that it was given, and the settings beside it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_OPTION = "--config"
_SETTING = re.compile(r"[A-Z][A-Z0-9_.]*=")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The file as it was named then, so relative to the folder that the run was started in."""

    config: str
    settings: tuple[str, ...] = ()


def launch_of(argv: Sequence[str]) -> Launch | None:
    """What the trainer's command line says; None where it was not recorded, or names no file."""
    files = list(_files(argv))
    if not files:
        return None
    settings = tuple(word for word in argv if _SETTING.match(word))
    return Launch(config=files[-1], settings=settings)


def _files(argv: Sequence[str]) -> Iterator[str]:
    """The last one counts, as it does for the trainer."""
    for place, word in enumerate(argv):
        if word.startswith(f"{_OPTION}="):
            yield word.partition("=")[2]
        elif word == _OPTION:
            yield from argv[place + 1 : place + 2]
