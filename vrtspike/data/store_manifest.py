"""Which folders are fast stores: the file that says so, and one line for those that are none."""

import os
import shlex
from pathlib import Path

from vrtspike.data.atomic_files import read_manifest
from vrtspike.data.settings import DataConfig
from vrtspike.errors import DataError

MANIFEST = "fast_store.json"
FORMAT = {"format": "vrtspike fast store", "version": 1}


def conversion_command(config: DataConfig, folder: Path) -> str:
    """The command that makes or completes a store for a configuration."""
    given = [f"--root {shlex.quote(config.root)} --out {shlex.quote(str(folder))}"]
    usual = DataConfig(root=config.root)
    splits = config.train_split, config.val_split
    if splits != (usual.train_split, usual.val_split):
        given.append(f"--splits {shlex.join(splits)}")
    for flag, value, default in (
        ("--blur-dir", config.blur_dir, usual.blur_dir),
        ("--spike-dir", config.spike_dir, usual.spike_dir),
        ("--bad-samples", config.bad_samples, usual.bad_samples),
        ("--max-bad-share", config.max_bad_share, usual.max_bad_share),
    ):
        if value != default:
            given.append(f"{flag} {shlex.quote(str(value))}")
    return f"python -m vrtspike.data.fast_store {' '.join(given)}"


def check_store(folder: Path, config: DataConfig) -> None:
    """Refuse a folder that is no store of this version.

    Args:
        folder: `DATA.FAST_STORE`.
        config: `DATA`.

    Raises:
        DataError: it is none; the line says what it is, and how to make one.
    """
    if not folder.is_dir():
        cure = conversion_command(config, folder)
        raise DataError(f"DATA.FAST_STORE {folder} is no folder: convert with: {cure}")
    reason = _why_not(folder / MANIFEST)
    if reason:
        cure = conversion_command(config, _beside(Path(config.root)))
        raise DataError(f"DATA.FAST_STORE {folder} {reason}; make one with: {cure}")


def _beside(root: Path) -> Path:
    """Where a store of this data set would find its place."""
    named = root if root.name not in ("", "..") else Path(os.path.realpath(root))
    return named.with_name(f"{named.name}_fast_store") if named.name else Path("fast_store")


def _why_not(manifest: Path) -> str | None:
    try:
        if not manifest.is_file():
            return f"is no fast store: it has no {MANIFEST}"
        found = read_manifest(manifest)
    except OSError as error:
        return f"cannot be read: {MANIFEST}: {error.strerror}"
    except ValueError:
        return f"is damaged: its {MANIFEST} is no JSON"
    if not isinstance(found, dict) or found.get("format") != FORMAT["format"]:
        return f"is no fast store: its {MANIFEST} says something else"
    version = found.get("version")
    if version != FORMAT["version"]:
        return f"is a store of version {version!r}, this program reads {FORMAT['version']}"
    return None
