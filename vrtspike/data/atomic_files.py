"""Files and folders that are whole or absent, also after a kill."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vrtspike.errors import DataError

_MAX_MANIFEST_BYTES = 1 << 16


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name beside `path`, then rename it into place."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)  # mkstemp's 0600 would hide shared data sets from colleagues
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_out_folder(out: Path) -> None:
    """Refuse an output folder whose name something else has.

    Raises:
        DataError: it is a file, or another thing that is no folder.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"--out {out} is not a folder: choose another --out")


def check_apart(flag: str, out: Path, sources: Iterable[Path]) -> None:
    """Refuse an output folder inside what it is made of, or around it.

    Args:
        flag: What the user calls the folder, such as --out.
        out: The folder; need not be there.
        sources: Folders that are read.

    Raises:
        DataError: it is one of these, lies in one, or holds one; links are followed.
    """
    place = _real(out)
    for source in sources:
        other = _real(source)
        if place.is_relative_to(other) or other.is_relative_to(place):
            how = "lies inside" if place.is_relative_to(other) else "holds"
            raise DataError(f"{flag} {out} {how} {source}, its source: choose another {flag}")


def _real(path: Path) -> Path:
    """Unlike `Path.resolve` it takes a loop of links as it stands."""
    return Path(os.path.realpath(path))


def read_manifest(path: Path) -> object:
    """What a manifest says; it is small, so what is not is not read to its end.

    Raises:
        OSError: as the system says it.
        ValueError: it is no JSON, or too much of it.
    """
    with path.open("rb") as file:
        data = file.read(_MAX_MANIFEST_BYTES + 1)
    if len(data) > _MAX_MANIFEST_BYTES:
        raise ValueError(f"it is larger than {_MAX_MANIFEST_BYTES >> 10} KiB")
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def claim_folder(manifest: Path, contents: Mapping[str, Any], *, other: str, foreign: str) -> None:
    """Make the manifest's folder ours, or find that it already is, with these very contents.

    Call it with `folder_lock` held: it removes what somebody left who was killed in the writing.

    Args:
        manifest: The file that says what the folder is.
        contents: What it has to say, of types that JSON gives back as they were.
        other: What the folder is where its manifest says something else.
        foreign: The same where it holds files and no manifest.

    Raises:
        DataError: it is one of these, or its manifest cannot be read.
    """
    out = manifest.parent
    for left in out.glob(f".{manifest.name}.*"):
        left.unlink(missing_ok=True)
    if manifest.is_file():
        try:
            found = read_manifest(manifest)
        except OSError as error:
            why = error.strerror or error
            raise DataError(f"{manifest}: cannot read it: {why}: choose another --out") from error
        except ValueError as error:
            cure = f"delete the folder {out}, or choose another --out"
            raise DataError(f"{manifest}: damaged: {error}: {cure}") from error
        if found != contents:
            raise DataError(f"{out} {other}: choose another --out")
        return
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} {foreign}: choose another --out")
    out.mkdir(exist_ok=True)
    replace_file(manifest, json.dumps(contents, indent=1).encode())


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the machine-wide lock of `folder`, kept in a file beside it; a dead holder frees it.

    Raises:
        DataError: the folder cannot be created or locked there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = (folder.parent / f".{folder.name}.lock").open("a")
    except OSError as error:
        raise DataError(f"{folder}: cannot write here: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Build a folder beside its final place; it takes that place only when the block ends well.

    Call it with `folder_lock` held: it removes what killed builders left. An earlier folder is
    moved aside first and removed afterwards, so that no reader ever sees a mixture.
    """
    for left in folder.parent.glob(f".{folder.name}.building-*"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.building-", dir=folder.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.building-", dir=folder.parent))
        if folder.exists():
            folder.rename(aside / "earlier")
        temporary.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
