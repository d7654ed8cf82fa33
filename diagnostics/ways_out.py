"""Where a file name leads: by way of links to a file, or out, into a pipe or a descriptor."""

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_MOST_LINKS = 40


def is_a_way_out(path: Path) -> bool:
    """A pipe, a device or a descriptor, such as /dev/stdout or a shell's `>(...)`.

    It is written into and not replaced, also where a descriptor leads to a regular file.
    """
    try:
        if any(_is_the_systems(link) for link in _links(path)):
            return True
        return path.exists() and not path.is_file() and not path.is_dir()
    except (OSError, ValueError):
        return False


def write_into(path: Path, content: bytes) -> None:
    """Write at the end of what a way out leads to; after what this process wrote there before.

    Raises:
        OSError: it cannot be written.
    """
    own = _own_descriptor(path)
    if own is None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    else:  # opened anew, it would have a position of its own, and the two would overwrite another
        sys.stdout.flush()
        sys.stderr.flush()
        descriptor = os.dup(own)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def behind_links(path: Path) -> Path:
    """The file itself, there already or not, where the name is a link.

    Raises:
        OSError: the links go round in a circle.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    return target


def _links(path: Path) -> Iterator[Path]:
    """The links that the name leads along, up to the first that is a descriptor."""
    place = _place(path)
    for _ in range(_MOST_LINKS):
        if not place.is_symlink():
            return
        yield place
        if _lies_in(place, "/proc"):  # what it reads as need not be a name
            return
        place = _place(place.parent / place.readlink())


def _place(path: Path) -> Path:
    return Path(os.path.realpath(path.parent), path.name)


def _is_the_systems(link: Path) -> bool:
    in_devices = _lies_in(link, "/dev") and not _lies_in(link, "/dev/shm")
    return in_devices or _lies_in(link, "/proc")


def _lies_in(path: Path, folder: str) -> bool:
    return path.is_relative_to(folder)


def _own_descriptor(path: Path) -> int | None:
    """The number of this process's open file that the name stands for."""
    own = Path(os.path.realpath("/proc/self/fd"))
    return next((int(link.name) for link in _links(path) if link.parent == own), None)
